import { generateStaffPassword } from './staff-password.ts';

it('generates no password with a leading dash, which programs take for an option', () => {
  // Without the rule, one in 64 would begin with a dash, so 5,000 passwords without one are no coincidence.
  const passwords = Array.from({ length: 5_000 }, generateStaffPassword);
  expect(passwords.filter((password) => !/^[A-Za-z0-9_][A-Za-z0-9_-]{23}$/.test(password))).toEqual([]);
  expect(new Set(passwords).size).toBe(passwords.length);
});
