interface ActionWords {
  /** The action by itself, for lists of all kinds of events. */
  readonly title: string;
  /** The action after the actor's name, for the target's own page. */
  readonly deed?: string;
}

const WORDS: Partial<Record<string, ActionWords>> = {
  'channel-user.created': { title: 'Partner added', deed: 'added the partner' },
  'channel-user.updated': { title: 'Partner changed', deed: 'changed the partner' },
  'channel-user.suspended': { title: 'Partner suspended', deed: 'suspended the partner' },
  'channel-user.reactivated': { title: 'Partner reactivated', deed: 'reactivated the partner' },
  'channel-user.tokens-revoked': { title: 'All tokens revoked', deed: 'revoked all tokens' },
  'channel-user.deleted': { title: 'Partner deleted', deed: 'deleted the partner' },
  'channel-users.imported': { title: 'Partners imported' },
  'channel-users.import-ended': { title: 'Import of partners ended' },
  'credential.created': { title: 'Password created', deed: 'created a password' },
  'credential.activated': { title: 'New password used for the first time' },
  'credential.withdrawn': { title: 'New password withdrawn unused', deed: 'withdrew a new password' },
  'credential.retired': { title: 'Old password set to expire', deed: 'set an old password to expire' },
  'credential.reported-leaked': { title: 'Password reported as leaked' },
  'credential.revoked': { title: 'Password revoked', deed: 'revoked a password' },
  'token.revoked': { title: 'One token revoked', deed: 'revoked one token' },
  'grant.given': { title: 'Resources granted', deed: 'granted resources' },
  'grant.changed': { title: 'Grants changed', deed: 'changed grants' },
  'grant.withdrawn': { title: 'Grant withdrawn', deed: 'withdrew a grant' },
  'handover.created': { title: 'One-time link created', deed: 'created a one-time link' },
  'handover.revealed': { title: 'One-time link used' },
  'handover.refused': { title: 'One-time link refused' },
  'handover.revoked': { title: 'One-time link revoked', deed: 'revoked a one-time link' },
  'staff.created': { title: 'Staff member added' },
  'staff.updated': { title: 'Staff member changed' },
  'staff.deleted': { title: 'Staff member removed' },
  'staff.password-reset': { title: 'Staff password reset' },
  'password-link.created': { title: 'Link for a staff password created' },
  'password-link.used': { title: 'Staff password chosen by link' },
  'password-link.refused': { title: 'Link for a staff password refused' },
  'password-link.revoked': { title: 'Link for a staff password revoked' },
  'staff.password-changed': { title: 'Own password changed' },
  'staff.identity-attached': { title: 'Identity attached: single sign-on from now on' },
  'staff.identity-detached': { title: 'Identity detached: password from now on' },
  'staff.sessions-ended': { title: 'Sessions ended: no group for Latchkey' },
  'staff.signed-in': { title: 'Signed in' },
  'staff.signed-out': { title: 'Signed out' },
  'staff.second-factor-enabled': { title: 'Second factor set up' },
  'staff.second-factor-replaced': { title: 'Second factor replaced' },
  'staff.second-factor-disabled': { title: 'Second factor turned off' },
  'staff.second-factor-reset': { title: 'Second factor reset' },
  'staff.recovery-codes-renewed': { title: 'Recovery codes renewed' },
  'service-account.created': { title: 'Service account added' },
  'service-account.updated': { title: 'Service account changed' },
  'service-account.suspended': { title: 'Service account suspended' },
  'service-account.reactivated': { title: 'Service account reactivated' },
  'service-account.revoked': { title: 'Service account revoked' },
  'service-account.deleted': { title: 'Service account deleted' },
  'service-account-key.created': { title: 'Key of a service account created' },
  'service-account-key.activated': { title: 'New key of a service account used for the first time' },
  'service-account-key.retired': { title: 'Old key of a service account set to end' },
  'service-account-key.withdrawn': { title: 'New key of a service account withdrawn unused' },
  'service-account-key.revoked': { title: 'Key of a service account revoked' },
  'signing-key.activated': { title: 'Signing key activated' },
  'signing-key.retiring': { title: 'Signing key being retired' },
  'signing-key.retired': { title: 'Signing key retired' },
  'signing-key.revoked': { title: 'Signing key revoked' },
  'webhook.created': { title: 'Webhook added' },
  'webhook.updated': { title: 'Webhook changed' },
  'webhook.deleted': { title: 'Webhook removed' },
  'webhook.secret-rotated': { title: 'Webhook secret replaced' },
  'webhook.disabled': { title: 'Webhook disabled: its receiver is gone' },
  'webhook.tested': { title: 'Webhook tested' },
  'webhook.delivery-retried': { title: 'Notice sent again' },
  'personal-data.erased': { title: 'Personal data erased', deed: 'erased personal data' },
  'settings.changed': { title: 'Settings changed' },
};

/** @returns a title such as `Partner suspended`, or the API's name of an action that this console does not know */
export const actionTitle = (action: string): string => WORDS[action]?.title ?? action;

/** @returns a sentence such as `Ada suspended it`, or the title with the name if there is no such sentence */
export function actionSentence(action: string, actor: { type: string; name: string }): string {
  const deed = WORDS[action]?.deed;
  if (deed !== undefined && actor.type !== 'system') return `${actor.name} ${deed}`;
  return actor.type === 'system' ? actionTitle(action) : `${actor.name}: ${actionTitle(action)}`;
}
