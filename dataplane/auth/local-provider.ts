import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { GROUPS_PER_USER, type LocalUser } from '../../api/data-plane-config.ts';
import { denial, temporaryDenial, type Denial, type LoginTokens, type UsedTotpStep } from './authenticator.ts';
import { parsePasswordHash, unmatchableHash, verifyPassword, type PasswordHash } from './password-hash.ts';
import { isStaticChallengeAnswer, parseStaticChallengeAnswer } from './static-challenge.ts';
import { LoginThrottle, type Admission, type Attempt } from './throttle.ts';
import { decodeBase32, matchTotp, totpStep } from './totp.ts';
import { WorkQueue } from './work-queue.ts';

export interface LocalLogin extends Attempt {
  readonly password: string;
}

export type LocalVerdict =
  { readonly kind: 'granted'; readonly groups: readonly string[]; readonly authToken: string } | Denial;

export interface LocalProviderOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly tokens: LoginTokens;
  /** Of earlier runs: a code is good once, also across a restart. */
  readonly usedTotpSteps: readonly UsedTotpStep[];
  /** Told after a code was spent; `usedTotpSteps()` has it then. The login goes on when it is kept. */
  readonly onTotpUsed?: () => Promise<void>;
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly verify?: (password: string, hash: PasswordHash) => Promise<boolean>;
}

/**
 * Logins against the users document: password, with MFA also a TOTP code, or the token of an
 * earlier login. Whether a user exists shows neither in the answer nor in the work done for it.
 */
export class LocalProvider {
  readonly #options: LocalProviderOptions;
  readonly #throttle = new LoginThrottle();
  readonly #hashing = new WorkQueue({ concurrency: HASH_CONCURRENCY, capacity: HASH_QUEUE });
  readonly #usedSteps: Map<string, number>;
  readonly #nobody = unmatchableHash();
  readonly #decoySalt = randomBytes(16);
  #users: ReadonlyMap<string, Account> = new Map();
  #hashes: readonly PasswordHash[] = [];
  #secondFactor: 'totp' | 'none' = 'none';

  constructor(options: LocalProviderOptions) {
    this.#options = options;
    this.#usedSteps = new Map(options.usedTotpSteps.map(({ user, step }) => [user, step]));
  }

  /** Replaces all users. One whose hash or secret can't be read stays known and can't log in. */
  setUsers(users: readonly LocalUser[], secondFactor: 'totp' | 'none'): void {
    this.#secondFactor = secondFactor;
    this.#users = new Map(users.map((user) => [user.name, accountOf(user, secondFactor)]));
    this.#hashes = [...this.#users.values()].map((account) => account.hash).filter((hash) => hash !== undefined);
  }

  /** For logs alone: what clients are told must not show it. */
  knows(username: string): boolean {
    return this.#users.has(username);
  }

  /** Logins that wait for their password check. */
  get waiting(): number {
    return this.#hashing.waiting;
  }

  /** The last step spent by each user, without those too old to matter, or from a time that is not to come. */
  usedTotpSteps(): readonly UsedTotpStep[] {
    const now = totpStep(this.#options.now());
    for (const [user, step] of this.#usedSteps)
      if (step < now - 2 || step > now + STEPS_AHEAD_MOST) this.#usedSteps.delete(user);
    return [...this.#usedSteps].map(([user, step]) => ({ user, step }));
  }

  async authenticate(login: LocalLogin, signal: AbortSignal): Promise<LocalVerdict> {
    // No user has such a name, and the throttle would have to remember it.
    if (Buffer.byteLength(login.username) > MAX_NAME_BYTES) return denial('unknown-user', NOT_ACCEPTED);
    const account = this.#users.get(login.username);
    const subject = tokenSubject(account?.subject ?? `${login.username}\n`, login);
    switch (this.#options.tokens.check(subject, login.password)) {
      case 'valid':
        // A token can't be valid for an account that is gone: its subject was the account's.
        if (account === undefined) return denial('unknown-user', SESSION_ENDED);
        return this.#granted(account, login, login.password);
      case 'expired':
      case 'invalid':
        return denial('token-not-accepted', SESSION_ENDED);
      case 'foreign':
        return this.#authenticateByPassword(login, account, signal);
    }
  }

  async #authenticateByPassword(
    login: LocalLogin,
    account: Account | undefined,
    signal: AbortSignal,
  ): Promise<LocalVerdict> {
    const answer = this.#answerOf(login.password);
    if ('kind' in answer) return answer;
    const admission = this.#throttle.admit(login, this.#options.now());
    if (admission.kind === 'refused') return denial('throttled', 'too many attempts, try again in a minute');
    if (admission.delayMs > 0) await (this.#options.wait ?? waitFor)(admission.delayMs, signal);
    const hash = account?.hash ?? this.#decoyFor(login.username);
    const verified = await this.#hashing.run(
      admission.familiar ? 'familiar' : 'stranger',
      () => (this.#options.verify ?? verifyPassword)(answer.password, hash),
      signal,
    );
    if (verified === null) {
      this.#throttle.notTried(login, admission);
      return temporaryDenial('overloaded', 'too many logins at once');
    }
    signal.throwIfAborted();
    if (account === undefined) return denial('unknown-user', NOT_ACCEPTED);
    if (!verified.value || account.hash === undefined) return denial('bad-password', NOT_ACCEPTED);
    if (this.#secondFactor === 'totp') {
      const refusal = await this.#spendCode(login, admission, account, answer.response);
      if (refusal !== null) return refusal;
    }
    // The document may have changed while this login waited: what holds now decides.
    const current = this.#users.get(login.username);
    if (current?.subject !== account.subject) return denial('user-changed', NOT_ACCEPTED);
    this.#throttle.succeeded(login, admission);
    return this.#granted(current, login, null);
  }

  #answerOf(password: string): { readonly password: string; readonly response: string } | Denial {
    if (this.#secondFactor === 'none') {
      return isStaticChallengeAnswer(password)
        ? denial('unexpected-challenge-answer', NOT_ACCEPTED)
        : { password, response: '' };
    }
    return parseStaticChallengeAnswer(password) ?? denial('missing-code', NOT_ACCEPTED);
  }

  async #spendCode(
    login: LocalLogin,
    admission: Extract<Admission, { kind: 'admitted' }>,
    account: Account,
    code: string,
  ): Promise<Denial | null> {
    if (account.totpSecret === undefined) return denial('no-totp-secret', NOT_ACCEPTED);
    const { username } = login;
    const now = this.#options.now();
    // Other words would say that the password was right.
    if (!this.#throttle.admitCode(login, admission, now)) return denial('code-throttled', NOT_ACCEPTED);
    const used = this.#usedSteps.get(username) ?? -1;
    // A step from before the clock was set back would keep the user out until that time comes again.
    const step = matchTotp(account.totpSecret, code, now, used > totpStep(now) + 1 ? -1 : used);
    if (step === null) return denial('bad-code', NOT_ACCEPTED);
    this.#usedSteps.set(username, step);
    await this.#options.onTotpUsed?.();
    return null;
  }

  #granted(account: Account, login: LocalLogin, token: string | null): LocalVerdict {
    const authToken = this.#options.tokens.issue(tokenSubject(account.subject, login), token);
    return { kind: 'granted', groups: account.groups, authToken };
  }

  /** For a user who does not exist: the hash of one who does, always the same, so that the cost looks like any other's. */
  #decoyFor(username: string): PasswordHash {
    const digest = createHash('sha256').update(this.#decoySalt).update(username).digest();
    return this.#hashes[digest.readUInt32BE(0) % Math.max(1, this.#hashes.length)] ?? this.#nobody;
  }
}

interface Account {
  readonly groups: readonly string[];
  readonly hash: PasswordHash | undefined;
  readonly totpSecret: Uint8Array | undefined;
  /** Names the account and its credentials; tokens are bound to it. */
  readonly subject: string;
}

/** A token that leaks is of no use with somebody else's certificate. */
function tokenSubject(account: string, { certificateFingerprint }: LocalLogin): string {
  return certificateFingerprint === null ? account : `${account}\n${certificateFingerprint}`;
}

function accountOf(user: LocalUser, secondFactor: 'totp' | 'none'): Account {
  const credentials = createHash('sha256')
    .update(JSON.stringify([user.passwordHash, user.totpSecret ?? '', secondFactor]))
    .digest('hex');
  return {
    groups: user.groups.slice(0, GROUPS_PER_USER),
    hash: parsePasswordHash(user.passwordHash),
    totpSecret: user.totpSecret === undefined ? undefined : decodeBase32(user.totpSecret),
    subject: `${user.name}\n${credentials}`,
  };
}

async function waitFor(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal });
}

// Two of the four threads of the pool: files and names stay responsive.
const HASH_CONCURRENCY = 2;
// At 50 ms each, the last in the queue waits under two seconds.
const HASH_QUEUE = 64;
// As long as 255 characters can be.
const MAX_NAME_BYTES = 1020;
/** An hour: a clock may have been set back by it. */
const STEPS_AHEAD_MOST = 120;
const NOT_ACCEPTED = 'user name, password or code not accepted';
const SESSION_ENDED = 'SESSION: login again';
