/** Quotes a text for a POSIX shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/**
 * Commands that rotate from a shell. The passwords pass through pipes, so that neither the history of the shell nor the
 * list of processes has them.
 *
 * @param base the address of the installation, without a slash at its end
 */
export const rotateCommands = (base: string, username: string): string => `\
# For bash or zsh. Type the password that your software uses now:
read -rs PASSWORD
LATCHKEY=${quoted(base)}
TOKEN=$(printf %s "$PASSWORD" |
  curl -sS --fail-with-body "$LATCHKEY/generateToken" \\
    --data-urlencode ${quoted(`Username=${username}`)} \\
    --data-urlencode Password@-) &&
printf %s "$PASSWORD" |
  sed 's/[\\\\"]/\\\\&/g; s/^/{"password":"/; s/$/"}/' |
  curl -sS --fail-with-body "$LATCHKEY/me/credentials" \\
    -H "Authorization: Bearer $TOKEN" \\
    -H 'Content-Type: application/json' \\
    --data-binary @-`;
