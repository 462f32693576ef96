/** What makes a username unique and finds it: ASCII lower case, which agrees with the database whatever its locale. */
export const usernameKeyOf = (username: string): string =>
  /[A-Z]/.test(username) ? username.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : username;
