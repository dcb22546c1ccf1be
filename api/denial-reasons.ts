/** Why a login was refused by who judges it. Metric labels and log values (docs/reasons.md), never shown to clients. */
export const LOGIN_DENIALS = [
  'authentication-not-configured',
  'bad-code',
  'bad-password',
  'cancelled',
  'code-throttled',
  'internal-error',
  'missing-code',
  'no-totp-secret',
  'overloaded',
  'throttled',
  'token-not-accepted',
  'unexpected-challenge-answer',
  'unknown-user',
  'user-changed',
] as const;
export type LoginDenial = (typeof LOGIN_DENIALS)[number];

/** Why a client certificate was refused; likewise. */
export const CERTIFICATE_DENIALS = [
  'certificate-common-name-invalid',
  'certificate-expired',
  'certificate-issuer-unseen',
  'certificate-malformed',
  'certificate-not-verified',
  'certificate-not-yet-valid',
  'certificate-of-unknown-authority',
  'certificate-revoked',
  'certificate-weak-key',
  'certificate-without-common-name',
  'certificate-wrong-usage',
  'no-certificate',
  'revocation-list-expired',
  'revocation-list-unusable',
] as const;
export type CertificateDenial = (typeof CERTIFICATE_DENIALS)[number];
