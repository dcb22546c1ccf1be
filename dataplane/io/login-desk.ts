import type { AuthenticationRequest, LoginPrompt } from '../../api/authentication.ts';
import type { Authenticator, LoginDialogue } from '../auth/authenticator.ts';
import type { Input } from '../sessions/engine-io.ts';

export type LoginInput = Extract<Input, { kind: 'authenticated' | 'authenticationPending' }>;

export interface LoginDeskOptions {
  readonly authenticator: Authenticator;
  readonly feed: (input: LoginInput) => void;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** Seconds from a request to its verdict. */
  readonly onVerdict: (seconds: number) => void;
}

/** Carries logins from the engine to whoever judges them, and verdicts, prompts and answers between the two. */
export class LoginDesk {
  readonly #options: LoginDeskOptions;
  readonly #logins = new Map<number, RunningLogin>();

  constructor(options: LoginDeskOptions) {
    this.#options = options;
  }

  begin(request: AuthenticationRequest): void {
    void this.#judge(request);
  }

  cancel(requestId: number): void {
    this.#logins.get(requestId)?.abort.abort();
  }

  answer(requestId: number, answer: string): void {
    const login = this.#logins.get(requestId);
    login?.onAnswer?.(answer);
    if (login !== undefined) login.onAnswer = undefined;
  }

  close(): void {
    for (const { abort } of this.#logins.values()) abort.abort();
  }

  async #judge(request: AuthenticationRequest): Promise<void> {
    const { requestId } = request;
    const { authenticator, feed, now, onVerdict } = this.#options;
    const begun = now();
    const login: RunningLogin = { abort: new AbortController(), onAnswer: undefined };
    this.#logins.set(requestId, login);
    try {
      const verdict = await authenticator.authenticate(request, this.#dialogue(requestId, login));
      onVerdict((now() - begun) / 1_000);
      feed({ kind: 'authenticated', requestId, verdict });
    } catch (error) {
      // Nobody waits for the verdict of a cancelled login; anything else is a broken invariant.
      if (!login.abort.signal.aborted) throw error;
    } finally {
      this.#logins.delete(requestId);
    }
  }

  #dialogue(requestId: number, login: RunningLogin): LoginDialogue {
    const { signal } = login.abort;
    const say = (timeoutMs: number, prompt: LoginPrompt | null): void =>
      this.#options.feed({ kind: 'authenticationPending', requestId, timeoutMs, prompt });
    return {
      signal,
      wait: say,
      ask(timeoutMs, question) {
        const { promise, resolve, reject } = Promise.withResolvers<string>();
        if (signal.aborted) return Promise.reject(signal.reason as Error);
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        login.onAnswer = resolve;
        say(timeoutMs, question);
        return promise;
      },
    };
  }
}

interface RunningLogin {
  readonly abort: AbortController;
  onAnswer: ((answer: string) => void) | undefined;
}
