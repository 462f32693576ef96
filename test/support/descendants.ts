import type { TestApp } from './app.ts';
import { secret } from './secrets.ts';

export interface OwnCredential {
  readonly id: string;
  readonly password: string;
}

/**
 * Creates a password with another one of the same account, as the partner itself does.
 *
 * @param parent a username and an active password, which proves the rotation
 * @param isUsed whether the new one is used, so that it is active. Else it stays pending
 */
export async function createWith(
  app: TestApp,
  parent: { readonly username: string; readonly password: string },
  { label, isUsed = true }: { label?: string; isUsed?: boolean } = {},
): Promise<OwnCredential> {
  const { username, password } = parent;
  const token = await app.generateToken(parent);
  const answer = await app.request('POST', '/me/credentials', { token, json: { password, label } });
  const { credential } = answer.expect(201).json<{ credential: OwnCredential }>();
  secret(credential.password);
  if (isUsed) await app.generateToken({ username, password: credential.password });
  return { id: credential.id, password: credential.password };
}
