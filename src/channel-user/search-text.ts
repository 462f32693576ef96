/**
 * Folds text for search, so that composition and case make no difference. `toLowerCase()` alone does not do so for the
 * sigma at the end of a word and for the Turkish letters i with and without a dot.
 */
export const fold = (text: string): string =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .normalize('NFKC')
    .replaceAll(/\p{Zs}+/gu, ' ')
    .replaceAll('i\u0307', 'i')
    .replaceAll('ı', 'i')
    .replaceAll('ς', 'σ');
