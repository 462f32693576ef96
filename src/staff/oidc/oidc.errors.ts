import { AppError } from '../../platform/common/errors.ts';

/** A refused sign-in at the identity provider. `title` heads the page that the browser shows. */
export class OidcError extends AppError {
  constructor(
    status: number,
    code: string,
    readonly title: string,
    detail: string,
    cause?: unknown,
  ) {
    super(
      { status, code: `session.${code}`, detail, ...(status === 503 && { headers: { 'retry-after': '5' } }) },
      cause,
    );
  }
}

export class OidcNotConfiguredError extends OidcError {
  constructor() {
    super(
      404,
      'oidc-not-configured',
      'No single sign-on here',
      'This installation has no identity provider. Sign in with your e-mail and password.',
    );
  }
}

/** The provider is down, slow, or answers with something else than OpenID Connect. */
export class ProviderUnavailableError extends OidcError {
  constructor(provider: string, cause: unknown) {
    super(
      503,
      'provider-unavailable',
      `${provider} cannot be reached`,
      `${provider} did not answer as it should, so nobody can sign in with it at the moment. Try again in a minute. If ` +
        'it lasts, tell whoever runs Latchkey; in an emergency, an admin can use a break-glass account.',
      cause,
    );
  }
}

/** The browser has no sign-in in progress that fits: too late, another browser, a repeated or an invented answer. */
export class FlowNotFoundError extends OidcError {
  constructor() {
    super(
      400,
      'sign-in-expired',
      'This sign-in is over',
      'It took longer than ten minutes, was begun in another browser or tab, or was completed before. Go back and sign ' +
        'in again. Cookies must be allowed for this address.',
    );
  }
}

/** The provider says that it let nobody in, such as when the person pressed Cancel. */
export class ProviderRefusedError extends OidcError {
  constructor(provider: string) {
    super(
      403,
      'provider-refused',
      `${provider} refused the sign-in`,
      `You cancelled it, or your account at ${provider} may not use Latchkey. Ask whoever manages the accounts at ` +
        `${provider}.`,
    );
  }
}

/** The answer of the provider does not prove who signed in. */
export class ProviderAnswerError extends OidcError {
  constructor(provider: string, cause: unknown) {
    super(
      400,
      'provider-answer-invalid',
      'The sign-in could not be verified',
      `The answer of ${provider} was used before, is too old, or was not made for Latchkey. Go back and sign in again. ` +
        'If it happens again, tell whoever runs Latchkey.',
      cause,
    );
  }
}

export class NoMappedGroupError extends OidcError {
  constructor(provider: string) {
    super(
      403,
      'no-mapped-group',
      'You have no access to Latchkey',
      `Your account at ${provider} is in no group that may use Latchkey. Ask whoever manages the groups at ${provider} ` +
        'to add you to one; the admins of Latchkey know which.',
    );
  }
}

/** The groups are absent, truncated or malformed. Nothing is concluded from that. */
export class GroupsUnknownError extends OidcError {
  constructor(provider: string, claim: string) {
    super(
      403,
      'groups-unknown',
      'Your groups are not known',
      `${provider} did not send your groups, or you are in too many for it to send all, so Latchkey cannot tell your ` +
        `role. Your account was not changed. Ask whoever manages ${provider} to send the groups that Latchkey needs in the claim “${claim}”.`,
    );
  }
}

export class NoEmailError extends OidcError {
  constructor(provider: string) {
    super(
      403,
      'no-email',
      'Your e-mail address is missing',
      `${provider} sent no e-mail address that Latchkey can use for your account. Ask whoever manages the accounts at ` +
        `${provider} to add one, or to send the claim “email”.`,
    );
  }
}

/** The first sign-in of a person whose e-mail belongs to another account, which it must not take over. */
export class EmailInUseError extends OidcError {
  constructor(provider: string, subject: string, cause?: unknown) {
    super(
      409,
      'email-in-use',
      'Your e-mail address is in use',
      'There is a Latchkey account with your e-mail address that signs in otherwise. Ask an admin of Latchkey to remove ' +
        `it, or to attach your identity to it. At ${provider}, your identity is: ${subject}`,
      cause,
    );
  }
}

/** A logout token that does not count. */
export class LogoutTokenError extends AppError {
  /** @param problem the rest of a sentence about the token */
  constructor(problem: string) {
    super({ status: 400, code: 'session.logout-token-invalid', detail: `The logout_token ${problem}.` });
  }
}
