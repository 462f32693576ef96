import { groupsOf } from './claims.ts';

it.each([[true], ['true']])('takes hasgroups %j as said of groups, not of app roles', (hasgroups) => {
  expect(groupsOf({ groups: ['a'], hasgroups }, 'groups')).toBeUndefined();
  expect(groupsOf({ roles: ['a'], hasgroups }, 'roles')).toEqual(['a']);
});

it('takes _claim_names as said of the claims that it names', () => {
  const elsewhere = { _claim_names: { groups: 'src1' } };
  expect(groupsOf({ ...elsewhere, groups: ['a'] }, 'groups')).toBeUndefined();
  expect(groupsOf({ ...elsewhere, roles: ['a'] }, 'roles')).toEqual(['a']);
});
