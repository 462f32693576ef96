import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Reads and parses a form, with nothing but what Node brings. */
export function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      resolve(new URLSearchParams(Buffer.concat(chunks).toString()));
    });
    request.on('error', reject);
  });
}

/** Listens where the environment says, tells where that is, and goes on SIGTERM. */
export function listen(server: Server): void {
  server.listen(Number(process.env['PORT']), process.env['HOST'], () => {
    const { address, port } = server.address() as AddressInfo;
    process.stdout.write(`Listening on http://${address}:${String(port)}\n`);
  });
  process.on('SIGTERM', () => process.exit(0));
}
