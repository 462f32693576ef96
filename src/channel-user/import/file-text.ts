import { isUtf8 } from 'node:buffer';
import { UnreadableFileError } from './import.errors.ts';

/** Bytes that suffice to recognize the kind of file. */
const SIGNATURE_BYTES = 4;
/** The character with which old programs end a text (Ctrl-Z), and how many of it and of line ends are removed. */
const END_MARK = '\u001A';
const MAX_END = 16;

const SAVE_AS_UTF8 =
  'Save it as "CSV UTF-8 (comma delimited)" in Excel, or with the character set "Unicode (UTF-8)" in LibreOffice.';

type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be';

/** @throws UnreadableFileError for a file that is not text, or whose encoding is unclear */
function encodingOf(head: Buffer): Encoding {
  const hex = head.toString('hex');
  if (hex.startsWith('504b0304') || hex.startsWith('d0cf11e0')) {
    throw new UnreadableFileError(`is a workbook, not CSV. ${SAVE_AS_UTF8}`);
  }
  if (hex.startsWith('1f8b')) throw new UnreadableFileError('is compressed: unpack it first');
  if (hex === 'fffe0000' || hex === '0000feff') throw new UnreadableFileError(`is UTF-32. ${SAVE_AS_UTF8}`);
  // UTF-16 with a byte order mark, or without one when the first characters are ASCII.
  if (hex.startsWith('fffe') || /^(?!00)..00/.test(hex)) return 'utf-16le';
  if (hex.startsWith('feff') || /^00(?!00)/.test(hex)) return 'utf-16be';
  return 'utf-8';
}

const isEncodingError = (error: unknown): boolean =>
  (error as NodeJS.ErrnoException).code === 'ERR_ENCODING_INVALID_ENCODED_DATA';

/** Decodes bytes in the encoding that the first bytes reveal. Drops a byte order mark. */
class Decoder {
  #head = Buffer.alloc(0);
  #encoding: Encoding | undefined;
  #decoder = new TextDecoder('utf-8', { fatal: true });
  /** Line number of the next character, from 1. */
  #line = 1;

  /** @throws UnreadableFileError */
  decode(chunk: Uint8Array): string {
    if (this.#encoding) return this.#decode(chunk);
    this.#head = Buffer.concat([this.#head, chunk]);
    return this.#head.length < SIGNATURE_BYTES ? '' : this.#begin();
  }

  /** @throws UnreadableFileError */
  end(): string {
    const text = this.#encoding ? '' : this.#begin();
    try {
      return text + this.#decoder.decode();
    } catch (error) {
      if (!isEncodingError(error)) throw error;
      const encoding = (this.#encoding ?? 'utf-8').toUpperCase();
      throw new UnreadableFileError(`ends within a ${encoding} character: the file is incomplete`);
    }
  }

  #begin(): string {
    this.#encoding = encodingOf(this.#head.subarray(0, SIGNATURE_BYTES));
    this.#decoder = new TextDecoder(this.#encoding, { fatal: true });
    return this.#decode(this.#head);
  }

  #decode(chunk: Uint8Array): string {
    try {
      const text = this.#decoder.decode(chunk, { stream: true });
      for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) this.#line++;
      return text;
    } catch (error) {
      if (!isEncodingError(error)) throw error;
      if (this.#encoding !== 'utf-8')
        throw new UnreadableFileError(`is not valid ${this.#encoding?.toUpperCase() ?? ''}: the file is damaged`);
      throw this.#notUtf8(Buffer.from(chunk));
    }
  }

  #notUtf8(chunk: Buffer): UnreadableFileError {
    let line = this.#line;
    for (let start = 0; start <= chunk.length; line++) {
      const end = chunk.indexOf('\n', start);
      const bytes = chunk.subarray(start, end === -1 ? undefined : end);
      if (!isUtf8(bytes) || end === -1) return notUtf8(bytes, line);
      start = end + 1;
    }
    return notUtf8(chunk, line);
  }
}

/** Names the first invalid byte and its meaning in other encodings, which points to the program that wrote the file. */
function notUtf8(bytes: Buffer, line: number): UnreadableFileError {
  const whole = bytes.toString('utf8');
  const at = Buffer.byteLength(whole.slice(0, Math.max(0, whole.indexOf('\uFFFD'))));
  const byte = bytes.subarray(at, at + 1);
  const ansi = new TextDecoder('windows-1252').decode(byte);
  return new UnreadableFileError(
    `is not UTF-8: the byte 0x${byte.toString('hex').toUpperCase()} would be "${ansi}" in Windows-1252 ("ANSI"). ` +
      SAVE_AS_UTF8,
    line,
  );
}

/** Index where the trailing line ends and end marks begin, or the length of the text without an end mark. */
function endOf(text: string): number {
  let end = text.length;
  while (end > 0 && text.length - end < MAX_END && [END_MARK, '\r', '\n'].includes(text.charAt(end - 1))) end--;
  return text.includes(END_MARK, end) ? end : text.length;
}

/**
 * Decodes a file as it arrives, in UTF-8 or in UTF-16 of either byte order.
 *
 * @throws UnreadableFileError for another encoding, and for a file that is not text
 */
export async function* textOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new Decoder();
  let held = '';
  for await (const chunk of bytes) {
    const text = held + decoder.decode(chunk);
    const end = endOf(text);
    held = text.slice(end);
    if (end > 0) yield text.slice(0, end);
  }
  const last = held + decoder.end();
  const end = endOf(last);
  if (end > 0) yield last.slice(0, end);
}
