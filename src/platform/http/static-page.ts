import type { FastifyReply } from 'fastify';
import { readFileSync } from 'node:fs';

/**
 * Forbids content of other origins, inline content, framing and text that becomes HTML or script, and keeps the URL with
 * its secret from leaving.
 */
export const PAGE_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
    "require-trusted-types-for 'script'; trusted-types 'none'",
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-robots-tag': 'noindex',
  'x-content-type-options': 'nosniff',
};

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/** The files of a self-contained page, such as one that a one-time link opens. They are the same for everybody. */
export class StaticPage {
  readonly #files: ReadonlyMap<string, string>;

  /** @param files the files by the names under which they are sent */
  constructor(files: Readonly<Record<string, URL>>) {
    this.#files = new Map(Object.entries(files).map(([name, url]) => [name, readFileSync(url, 'utf8')]));
  }

  has(name: string): boolean {
    return this.#files.has(name);
  }

  send(reply: FastifyReply, name: string): void {
    const type = TYPES[name.slice(name.lastIndexOf('.') + 1)] ?? 'application/octet-stream';
    void reply.headers(PAGE_HEADERS).type(type).send(this.#files.get(name));
  }
}
