/** The key by which a username is unique and found: ASCII lower case, which no database locale changes. */
export const usernameKeyOf = (username: string): string =>
  /[A-Z]/.test(username) ? username.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : username;
