import type { LoginPrompt } from '../../api/authentication.ts';
import {
  authPendingMessage,
  openUrlMessage,
  textChallengeMessage,
  webAuthMessage,
} from '../protocol/control-message.ts';
import { deny, UNABLE_TO_ASK } from './denial.ts';
import type { EngineState } from './engine-state.ts';
import type { Peer } from './peer.ts';

/** The kinds of prompt that a client can show its user, by the methods of its IV_SSO. */
export function promptsOf(ssoMethods: ReadonlySet<string>): readonly LoginPrompt['kind'][] {
  const prompts: LoginPrompt['kind'][] = [];
  if (ssoMethods.has(WEB_AUTH) || ssoMethods.has(OPEN_URL)) prompts.push('web');
  if (ssoMethods.has(TEXT)) prompts.push('text');
  return prompts;
}

/** The provider needs longer, or the user must act: the client is told to wait, and its user what to do. */
export function onPending(state: EngineState, peer: Peer, timeoutMs: number, prompt: LoginPrompt | null): void {
  const { login } = peer;
  if (login === undefined || login.granted !== undefined) return;
  const deadline = Math.min(state.now + timeoutMs, login.key.createdMs + state.limits.pendingTimeoutMs);
  // A client that was told less goes when that is over.
  if (deadline > login.deadline) login.announceAt = state.now;
  login.deadline = deadline;
  announce(peer);
  if (prompt === null) return;
  if (prompt.kind === 'text') login.questions += 1;
  const text = textOf(peer.ssoMethods, prompt);
  if (text === undefined || login.questions > QUESTIONS_MOST) {
    deny(state, peer, login.purpose, text === undefined ? UNABLE_TO_ASK : TOO_MANY_QUESTIONS);
    return;
  }
  login.isAsked = prompt.kind === 'text';
  peer.session.say(login.key, text);
}

/** CR_RESPONSE: counts once for each question, and never without one. */
export function onAnswer(state: EngineState, peer: Peer, answer: string): void {
  const { login } = peer;
  if (login?.isAsked !== true || login.granted !== undefined) {
    state.countDrop('challenge-response-unasked');
    return;
  }
  login.isAsked = false;
  state.emit({ kind: 'answerAuthentication', requestId: login.requestId, answer });
}

export function onLoginDeadline(state: EngineState, peer: Peer): void {
  const { login } = peer;
  if (login === undefined || login.granted !== undefined) return;
  if (state.now >= login.deadline)
    deny(state, peer, login.purpose, { reason: 'login-timeout', message: 'The login took too long' });
  else if (state.now >= login.announceAt) announce(peer);
}

function announce(peer: Peer): void {
  const { login } = peer;
  if (login === undefined || login.announceAt === Infinity) return;
  login.announceAt = Infinity;
  // 2.x counts from when its key came up, OpenVPN 3 from now.
  const timeoutS = Math.max(1, Math.floor((login.deadline - login.key.createdMs) / 1000));
  const keywords = peer.negotiated?.pendingKeywords === true;
  peer.session.say(login.key, authPendingMessage(keywords ? timeoutS : null));
}

/** Undefined: this client can't show it, or no client could read it. */
function textOf(ssoMethods: ReadonlySet<string>, prompt: LoginPrompt): string | undefined {
  if (!promptsOf(ssoMethods).includes(prompt.kind)) return undefined;
  if (prompt.kind === 'text') return textChallengeMessage(prompt.text, { echo: prompt.echo });
  if (!PAGE.test(prompt.url) || prompt.url.length > URL_CHARACTERS) return undefined;
  return ssoMethods.has(WEB_AUTH) ? webAuthMessage(prompt.url) : openUrlMessage(prompt.url);
}

/** As IV_SSO names them, the best first. */
const WEB_AUTH = 'webauth';
const OPEN_URL = 'openurl';
const TEXT = 'crtext';
const QUESTIONS_MOST = 3;
const TOO_MANY_QUESTIONS = { reason: 'too-many-questions', message: 'Too many attempts' } as const;
/** A message has at most 1023. */
const URL_CHARACTERS = 900;
const PAGE = /^https:\/\/[\x21-\x7e]+$/;
