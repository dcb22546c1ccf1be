import type { IdentityProvider } from '../../../api/v1alpha1/generated/identity-provider.ts';
import { isFalse, isTrue, isUnknown, type Judgement } from '../conditions.ts';
import type { Found, UsersFacts } from '../facts.ts';

/** Whether logins through a provider can work: its condition `Ready`. */
export function judgeIdentityProvider(provider: IdentityProvider, users: Found<UsersFacts> | undefined): Judgement {
  const { type } = provider.spec;
  if (type !== 'Local') return isFalse('Ready', 'NotSupported', notServedYet(type));
  if (users === undefined) return isUnknown('Ready', 'NotChecked', 'nobody looked at the users document');
  if (users.kind === 'missing') return isFalse('Ready', 'UsersSecretNotFound', users.message);
  if (users.facts.state === 'UsersInvalid') return isFalse('Ready', 'UsersInvalid', users.facts.message);
  return isTrue('Ready', 'Ready', `${users.facts.users} users`);
}

export function notServedYet(type: IdentityProvider['spec']['type']): string {
  return `providers of type ${type} are not served yet`;
}
