import type { AuthenticationRequest } from '../../api/authentication.ts';
import { parseStaticChallengeAnswer } from './static-challenge.ts';

/** What broke while a login was judged, for the log. Holds nothing of what the client sent. */
export interface LoginFault {
  /** Of the error. */
  readonly name: string;
  readonly message: string;
}

/** Whoever throws may have put into the message what it choked on, whole or in part. */
export function loginFaultOf(
  error: unknown,
  { username, password }: Pick<AuthenticationRequest, 'username' | 'password'>,
): LoginFault {
  const answer = parseStaticChallengeAnswer(password);
  const sent = [username, password, answer?.password ?? '', answer?.response ?? ''];
  const message = error instanceof Error ? error.message : String(error);
  return {
    name: error instanceof Error ? error.name : typeof error,
    message: sent.some((text) => sharesPiece(message, text)) ? WITHHELD : message,
  };
}

/** Whether `message` holds a run of characters of `sent`, or all of it if that is short. */
function sharesPiece(message: string, sent: string): boolean {
  if (sent.length < PIECE) return sent !== '' && message.includes(sent);
  const pieces = new Set(piecesOf(message));
  return piecesOf(sent).some((piece) => pieces.has(piece));
}

function piecesOf(text: string): readonly string[] {
  return Array.from({ length: Math.max(0, text.length - PIECE + 1) }, (_, at) => text.slice(at, at + PIECE));
}

const PIECE = 4;
const WITHHELD = '[withheld: it may repeat what the client sent]';
