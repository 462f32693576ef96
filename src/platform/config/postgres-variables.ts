/**
 * Removes the variables that PostgreSQL's own programs read (`PGHOST`, `PGSSLMODE`, `PGOPTIONS`, …). They are meant for
 * other programs, but the driver would obey them too, even for connections to the embedded database. `DATABASE_URL`
 * alone describes a connection.
 *
 * @param variables the environment of this process
 */
export function ignorePostgresVariables(variables: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(variables)) {
    // NODE_PG_FORCE_NATIVE asks for a driver that is not installed.
    if (/^PG[A-Z]/.test(name) || name === 'NODE_PG_FORCE_NATIVE') Reflect.deleteProperty(variables, name);
  }
}
