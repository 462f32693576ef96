interface ActionWords {
  /** By itself, as in a list of all kinds of things. */
  readonly title: string;
  /** After the name of who did it, on the page of what it was done to. */
  readonly deed?: string;
}

const WORDS: Partial<Record<string, ActionWords>> = {
  'channel-user.created': { title: 'Partner added', deed: 'added the partner' },
  'channel-user.updated': { title: 'Partner changed', deed: 'changed it' },
  'channel-user.suspended': { title: 'Partner suspended', deed: 'suspended it' },
  'channel-user.reactivated': { title: 'Partner reactivated', deed: 'reactivated it' },
  'channel-user.tokens-revoked': { title: 'All tokens revoked', deed: 'revoked all its tokens' },
  'channel-user.deleted': { title: 'Partner deleted', deed: 'deleted it' },
  'credential.created': { title: 'Password made', deed: 'made a password' },
  'credential.retired': { title: 'Old password given an end', deed: 'let an old password end' },
  'credential.revoked': { title: 'Password revoked', deed: 'revoked a password' },
  'token.revoked': { title: 'One token revoked', deed: 'revoked one token' },
  'grant.given': { title: 'Resources granted', deed: 'granted it resources' },
  'grant.changed': { title: 'Grants changed', deed: 'changed its grants' },
  'grant.withdrawn': { title: 'Grant withdrawn', deed: 'withdrew a grant' },
  'handover.created': { title: 'One-time link made', deed: 'made a one-time link' },
  'handover.revealed': { title: 'One-time link used' },
  'handover.refused': { title: 'One-time link refused' },
  'handover.revoked': { title: 'One-time link revoked', deed: 'revoked a one-time link' },
  'staff.created': { title: 'Staff member added' },
  'staff.updated': { title: 'Staff member changed' },
  'staff.deleted': { title: 'Staff member removed' },
  'staff.password-reset': { title: 'Staff password reset' },
  'staff.password-changed': { title: 'Own password changed' },
  'staff.signed-in': { title: 'Signed in' },
  'staff.signed-out': { title: 'Signed out' },
  'staff.second-factor-enabled': { title: 'Second factor set up' },
  'staff.second-factor-replaced': { title: 'Second factor replaced' },
  'staff.second-factor-disabled': { title: 'Second factor turned off' },
  'staff.second-factor-reset': { title: 'Second factor reset' },
  'staff.recovery-codes-renewed': { title: 'Recovery codes renewed' },
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
  'personal-data.erased': { title: 'Personal data erased', deed: 'erased its personal data' },
  'settings.changed': { title: 'Settings changed' },
};

/** @returns as in `Partner suspended`; an action that is new to this console as the API names it */
export const actionTitle = (action: string): string => WORDS[action]?.title ?? action;

/** @returns as in `Ada suspended it`; where there is no such sentence, the title beside the name */
export function actionSentence(action: string, actor: { type: string; name: string }): string {
  const deed = WORDS[action]?.deed;
  if (deed !== undefined && actor.type !== 'system') return `${actor.name} ${deed}`;
  return actor.type === 'system' ? actionTitle(action) : `${actor.name}: ${actionTitle(action)}`;
}
