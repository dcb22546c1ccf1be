import { parseDocument } from 'yaml';
import type { LocalUser, LocalUsersDocument } from '../../../api/data-plane-config.ts';

export type LocalUsersReading =
  | { readonly ok: true; readonly document: LocalUsersDocument }
  /** Each problem names a user by number and name, never a hash or secret. */
  | { readonly ok: false; readonly problems: readonly string[] };

/** What the data plane can work with; the same functions that it uses. */
export interface LocalUsersFormats {
  readonly isPasswordHash: (text: string) => boolean;
  readonly isTotpSecret: (text: string) => boolean;
}

const MAX_NAME = 255;
const MAX_ALIASES = 100;
const USER_FIELDS = ['name', 'passwordHash', 'groups', 'totpSecret'];

/** Reads a users document: `users: [{name, passwordHash, groups: [], totpSecret}]`, as YAML. */
export function readLocalUsers(text: string, formats: LocalUsersFormats): LocalUsersReading {
  const parsed = parseYaml(text);
  if (typeof parsed === 'string') return { ok: false, problems: [parsed] };
  const root = parsed.value;
  if (!isRecord(root) || !Array.isArray(root['users'])) {
    return { ok: false, problems: ['expected one field, users, with a list'] };
  }
  const problems = Object.keys(root).length === 1 ? [] : ['expected one field, users, and no other'];
  const users: LocalUser[] = [];
  const numbers = new Map<string, number>();
  root['users'].forEach((entry: unknown, index) => {
    const place = `users[${index}]`;
    const user = readUser(entry, place, formats, problems);
    if (user === undefined) return;
    const first = numbers.get(user.name);
    if (first !== undefined) problems.push(`${place}: ${show(user.name)} is there already, as users[${first}]`);
    else numbers.set(user.name, index);
    users.push(user);
  });
  return problems.length > 0 ? { ok: false, problems } : { ok: true, document: { users } };
}

function parseYaml(text: string): { readonly value: unknown } | string {
  try {
    const document = parseDocument(text, { prettyErrors: false });
    const [error] = document.errors;
    // The parser's own message may quote the text, and with it a secret.
    if (error !== undefined) return `not YAML (${error.code})`;
    return { value: document.toJS({ maxAliasCount: MAX_ALIASES }) };
  } catch {
    return 'not YAML, or too many aliases in it';
  }
}

function readUser(
  entry: unknown,
  place: string,
  formats: LocalUsersFormats,
  problems: string[],
): LocalUser | undefined {
  if (!isRecord(entry)) {
    problems.push(`${place}: expected name, passwordHash and groups`);
    return undefined;
  }
  const before = problems.length;
  const { name, passwordHash, groups = [], totpSecret } = entry;
  const who = typeof name === 'string' ? `${place} (${show(name)})` : place;
  const check = (holds: boolean, message: string): void => {
    if (!holds) problems.push(`${who}: ${message}`);
  };
  // A stray field may be a piece of an unquoted hash (YAML splits `{…}` at commas), so it is not named.
  const isKnown = Object.keys(entry).every((field) => USER_FIELDS.includes(field));
  check(isKnown, `only ${USER_FIELDS.join(', ')} are known; in braces a passwordHash needs quotes`);
  const isName = typeof name === 'string' && name !== '' && new TextEncoder().encode(name).length <= MAX_NAME;
  check(isName, `name must be text of 1 to ${MAX_NAME} bytes`);
  const isHash = typeof passwordHash === 'string' && formats.isPasswordHash(passwordHash);
  check(isHash, 'passwordHash must be an argon2id PHC string, as `clientvpn hash-password` writes it');
  const areGroups = Array.isArray(groups) && groups.every(isGroup);
  check(areGroups, `groups must be a list of texts of 1 to ${MAX_NAME} characters`);
  const isTotp = totpSecret === undefined || (typeof totpSecret === 'string' && formats.isTotpSecret(totpSecret));
  check(isTotp, 'totpSecret must be base32 of at least 80 bits');
  if (problems.length > before || !isName || !isHash || !areGroups || !isTotp) return undefined;
  const user = { name, passwordHash, groups };
  return totpSecret === undefined ? user : { ...user, totpSecret };
}

function isGroup(group: unknown): group is string {
  return typeof group === 'string' && group !== '' && Array.from(group).length <= MAX_NAME;
}

/** A name may hold a hash, where a line break was lost. */
function show(text: string): string {
  const hashAt = text.indexOf('$argon2');
  const end = Math.min(hashAt < 0 ? text.length : hashAt, text.length > 40 ? 39 : 40);
  return JSON.stringify(end < text.length ? `${text.slice(0, end)}…` : text);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
