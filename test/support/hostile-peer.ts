import type { ControlPacket } from '../../dataplane/protocol/control-packet.ts';
import type { ControlWrap } from '../../dataplane/protocol/control-wrap.ts';
import { Opcode, type ControlOpcode } from '../../dataplane/protocol/opcode.ts';
import { WrapPacketIds } from '../../dataplane/protocol/wrap-packet-id.ts';
import { mutate } from './mutation.ts';
import { randomBytesFrom } from './seed.ts';

const OPCODES: readonly ControlOpcode[] = [
  Opcode.SoftResetV1,
  Opcode.ControlV1,
  Opcode.ControlV1,
  Opcode.ControlV1,
  Opcode.AckV1,
  Opcode.HardResetClientV2,
  Opcode.HardResetServerV2,
  Opcode.HardResetClientV3,
  Opcode.ControlWkcV1,
];

export interface HostilePeerParts {
  readonly random: () => number;
  /** The wrap as its client uses it: an attacker with a profile of its own has one. */
  readonly wrap: ControlWrap;
  readonly unixS: number;
  readonly sessionId: Uint8Array;
  /** Null before the cookie. */
  readonly serverSessionId: Uint8Array | null;
  /** Packets of this client so far, as sent. */
  readonly captured: readonly Uint8Array[];
  /** About the message id that the server expects next. */
  readonly nextMessageId: number;
}

/** Makes the packets of somebody who knows the protocol and the control wrap, and keeps neither of the rules. */
export class HostilePeer {
  readonly #parts: HostilePeerParts;
  readonly #ids: WrapPacketIds;

  constructor(parts: HostilePeerParts) {
    this.#parts = parts;
    // A later time than the client's: its own packets count as old from the first of ours on.
    this.#ids = new WrapPacketIds(parts.unixS + 1);
  }

  /** A capture with a few edits, a capture as it was, or a packet that is valid but for what it says. */
  packet(): Uint8Array {
    const { random, captured } = this.#parts;
    const choice = random();
    if (captured.length === 0 || choice < 0.6) return this.#forged();
    if (choice < 0.7) return captured[this.#below(captured.length)].slice();
    return mutate(captured, random);
  }

  #forged(): Uint8Array {
    const { wrap, random } = this.#parts;
    const bytes = wrap.wrap(this.#body(), this.#ids);
    if (random() < 0.1) bytes[this.#below(bytes.length)] ^= 1 << this.#below(8);
    return bytes;
  }

  #body(): ControlPacket {
    const { random, sessionId, serverSessionId, nextMessageId } = this.#parts;
    const opcode = OPCODES[this.#below(OPCODES.length)];
    const isHardReset = opcode === Opcode.HardResetClientV2 || opcode === Opcode.HardResetClientV3;
    const ackCount = this.#below(random() < 0.1 ? 12 : 5);
    const acks = Array.from({ length: ackCount }, () => this.#messageId(4));
    const receiver = random() < 0.9 ? (serverSessionId ?? randomBytesFrom(random, 8)) : randomBytesFrom(random, 8);
    return {
      opcode,
      keyId: isHardReset ? 0 : random() < 0.6 ? 0 : this.#below(8),
      sessionId: random() < 0.9 ? sessionId : randomBytesFrom(random, 8),
      acks,
      peerSessionId: acks.length > 0 ? receiver : null,
      messageId: opcode === Opcode.AckV1 ? null : isHardReset && random() < 0.9 ? 0 : this.#messageId(nextMessageId),
      // TLS gives up at the first wrong byte: most packets bring it none.
      payload: randomBytesFrom(random, random() < 0.02 ? 1600 : random() < 0.05 ? this.#below(200) : 0),
    };
  }

  #messageId(near: number): number {
    const choice = this.#parts.random();
    if (choice < 0.1) return BORDER_IDS[this.#below(BORDER_IDS.length)];
    return Math.max(0, near - 3 + this.#below(18));
  }

  #below(limit: number): number {
    return Math.floor(this.#parts.random() * limit);
  }
}

const BORDER_IDS = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff];
