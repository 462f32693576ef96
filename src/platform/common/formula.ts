/**
 * What a spreadsheet may take for the start of a formula, also in full-width or small signs or after blanks. Leading
 * apostrophes count too, so that {@link undefused} restores the text exactly.
 */
const FORMULA = /^'*(?:[\t\r\n]|\s*[=+\-@＝＋－＠﹢﹣﹦﹫])/;

/** Free text for a spreadsheet's cell. Text that could be a formula gets an apostrophe in front. */
export const defused = (text: string): string => (FORMULA.test(text) ? `'${text}` : text);

/** The text from which {@link defused} made the cell. */
export const undefused = (cell: string): string => (cell.startsWith("'") && FORMULA.test(cell) ? cell.slice(1) : cell);
