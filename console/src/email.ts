/** @returns whether a text may be an e-mail address; the API decides */
export function isEmailAddress(text: string): boolean {
  const [local = '', domain = '', ...rest] = text.split('@');
  return rest.length === 0 && local !== '' && !/\s/.test(text) && domain !== '' && !domain.split('.').includes('');
}
