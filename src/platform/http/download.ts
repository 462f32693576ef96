import type { FastifyReply } from 'fastify';

/**
 * Sends chunks as they are made. Before each chunk but the first, checks that the staff member may still have it. If
 * the member was removed, demoted or signed out in the meantime, the connection ends.
 */
async function* whileStaffMay(reply: FastifyReply, chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let isFirst = true;
  for await (const chunk of chunks) {
    if (!isFirst) await reply.request.confirmStaff?.();
    isFirst = false;
    yield chunk;
  }
}

/**
 * Sends a file as it is made, with one chunk at a time in memory. The headers are sent with the first chunk. An earlier
 * error is answered like any other. A later one cuts the connection, so that nobody takes a part for the whole file.
 *
 * @param name the name of the file, in ASCII without quotes
 */
export async function* download(
  reply: FastifyReply,
  { name, type }: { name: string; type: string },
  chunks: AsyncIterable<string>,
): AsyncGenerator<string> {
  let hasBegun = false;
  for await (const chunk of whileStaffMay(reply, chunks)) {
    if (!hasBegun) void reply.type(type).header('content-disposition', `attachment; filename="${name}"`);
    hasBegun = true;
    yield chunk;
  }
}
