import type { LoginChallenge } from '../../api/authentication.ts';
import { dynamicChallengeMessage } from '../protocol/challenge.ts';
import { authFailedMessage, authFailedTemporaryMessage } from '../protocol/control-message.ts';
import { endPeer, recordFailure } from './ending.ts';
import type { EngineState } from './engine-state.ts';
import { factsOf, remoteText, type Login, type Peer } from './peer.ts';
import type { DenialReason } from './reasons.ts';

export interface Denial {
  /** For the log. */
  readonly reason: DenialReason;
  /** For the user. */
  readonly message: string;
  readonly certificateRefused?: boolean;
  /** The client is welcome, but not now: one that understands comes back by itself. */
  readonly isTemporary?: boolean;
}

/** A refused certificate makes no connection record: strangers must not fill the list. */
export function deny(state: EngineState, peer: Peer, purpose: 'login' | 'renewal', denial: Denial): void {
  const { reason } = denial;
  if (denial.certificateRefused === true)
    state.event({ kind: 'certificateRefused', remote: remoteText(peer.remote), reason });
  else if (purpose === 'login') recordFailure(state, peer, reason, denial.isTemporary === true);
  endPeer(state, peer, purpose === 'login' ? reason : `renewal-refused-${reason}`, farewellFor(peer, denial));
}

/**
 * Ends the connection with a question, to be answered at the next login. A stock client reads no message longer than
 * 2047 characters; the AWS client's buffer is its own.
 */
export function challenge(
  state: EngineState,
  peer: Peer,
  login: Login,
  { stateId, text, answer }: LoginChallenge,
): void {
  const { client } = login.key;
  const message = dynamicChallengeMessage({
    responseRequired: answer !== 'none',
    echo: answer === 'shown',
    stateId,
    username: client?.username ?? '',
    text,
    quoting: login.isFederated ? 'aws' : 'plain',
  });
  if (client?.framing !== 'aws' && message.length > STOCK_MESSAGE_CHARACTERS) {
    deny(state, peer, login.purpose, UNABLE_TO_ASK);
    return;
  }
  if (login.purpose === 'login') state.event({ kind: 'connectionAttemptChallenged', connection: factsOf(peer) });
  endPeer(state, peer, 'challenged', message);
}

function farewellFor(peer: Peer, { isTemporary, message }: Denial): string {
  return isTemporary === true && peer.negotiated?.temporaryFailure === true
    ? authFailedTemporaryMessage({ backoffS: BACKOFF_S, advance: 'addr', reason: message })
    : authFailedMessage(message);
}

export const UNABLE_TO_ASK: Denial = {
  reason: 'client-unable-to-ask',
  message: 'This login needs a client that can ask its user',
};
const STOCK_MESSAGE_CHARACTERS = 2047;
const BACKOFF_S = 15;
