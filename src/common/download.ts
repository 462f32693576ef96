import type { FastifyReply } from 'fastify';

/**
 * Sends a file as it is made, with as much of it in memory as one chunk. The headers leave with the first one: an error
 * before is answered as any other, one after it cuts the connection, so that nobody takes a part for the whole.
 *
 * @param name of the file, in ASCII without quotes
 */
export async function* download(
  reply: FastifyReply,
  { name, type }: { name: string; type: string },
  chunks: AsyncIterable<string>,
): AsyncGenerator<string> {
  let hasBegun = false;
  for await (const chunk of chunks) {
    if (!hasBegun) void reply.type(type).header('content-disposition', `attachment; filename="${name}"`);
    hasBegun = true;
    yield chunk;
  }
}
