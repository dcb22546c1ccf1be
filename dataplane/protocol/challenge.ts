import { encodeBase64 } from './base64.ts';
import { utf8Bytes } from './bytes.ts';
import { printableText } from './control-message.ts';

/**
 * What the password field of a login means to the protocol. Static challenges (`SCRV1:`) and tokens count as plain here:
 * they are read where passwords are judged.
 */
export type PasswordField =
  | { readonly kind: 'plain'; readonly password: string }
  /** Answer to CRV1: `CRV1::<state id>::<response>`; the response may hold anything. */
  | { readonly kind: 'dynamicChallenge'; readonly stateId: string; readonly response: string }
  /** First step of a federated login of the AWS client: the port where it waits for the assertion. */
  | { readonly kind: 'federatedStart'; readonly port: number }
  | { readonly kind: 'malformed' };

const MAX_STATE_ID_CHARACTERS = 128;

/** Sorts a password field by its prefix. A prefix with a malformed rest is never taken for a plain password. */
export function parsePasswordField(field: string): PasswordField {
  if (field.startsWith('CRV1::')) return parseDynamicChallenge(field);
  if (field.startsWith('ACS::')) return parseFederatedStart(field);
  return { kind: 'plain', password: field };
}

function parseDynamicChallenge(field: string): PasswordField {
  const rest = field.slice('CRV1::'.length);
  const separator = rest.indexOf('::');
  const stateId = rest.slice(0, Math.max(separator, 0));
  if (stateId === '' || stateId.length > MAX_STATE_ID_CHARACTERS || stateId.includes(':')) return { kind: 'malformed' };
  return { kind: 'dynamicChallenge', stateId, response: rest.slice(separator + 2) };
}

function parseFederatedStart(field: string): PasswordField {
  const text = field.slice('ACS::'.length);
  const port = Number(text);
  return /^[0-9]{1,5}$/.test(text) && port >= 1 && port <= 65535
    ? { kind: 'federatedStart', port }
    : { kind: 'malformed' };
}

export interface DynamicChallenge {
  readonly responseRequired: boolean;
  readonly echo: boolean;
  /** `[A-Za-z0-9/_.-]`, at most 128: it must hold no colon. */
  readonly stateId: string;
  readonly username: string;
  /** For the user; may hold colons. */
  readonly text: string;
  /** `aws`: the user name inside `b'…'`, as the AWS service writes it. */
  readonly quoting: 'plain' | 'aws';
}

/** The whole `AUTH_FAILED,CRV1:…` message; for the AWS client it may pass 2047 characters, for others it must not. */
export function dynamicChallengeMessage(challenge: DynamicChallenge): string {
  const flags = [...(challenge.responseRequired ? ['R'] : []), ...(challenge.echo ? ['E'] : [])].join(',');
  const user = encodeBase64(utf8Bytes(challenge.username));
  const quoted = challenge.quoting === 'aws' ? `b'${user}'` : user;
  return `AUTH_FAILED,CRV1:${flags}:${challenge.stateId}:${quoted}:${printableText(challenge.text)}`;
}
