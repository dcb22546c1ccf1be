import * as fc from 'fast-check';
import type { ControlPacket } from '../../dataplane/protocol/control-packet.ts';
import { isHardReset, Opcode, type ControlOpcode } from '../../dataplane/protocol/opcode.ts';

const OPCODES: readonly ControlOpcode[] = [
  Opcode.SoftResetV1,
  Opcode.ControlV1,
  Opcode.AckV1,
  Opcode.HardResetClientV2,
  Opcode.HardResetServerV2,
  Opcode.HardResetClientV3,
  Opcode.ControlWkcV1,
];

/** Control packets that a correct peer might send. */
export function controlPackets(): fc.Arbitrary<ControlPacket> {
  const u32 = fc.nat(0xffffffff);
  const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });
  const sessionId = bytes(8).filter((id) => id.some((byte) => byte !== 0));
  return fc
    .record({
      opcode: fc.constantFrom(...OPCODES),
      keyId: fc.nat(7),
      sessionId,
      acks: fc.array(u32, { maxLength: 8 }),
      peerSessionId: sessionId,
      messageId: u32,
      payload: fc.uint8Array({ maxLength: 64 }),
    })
    .map((packet) => ({
      ...packet,
      keyId: isHardReset(packet.opcode) ? 0 : packet.keyId,
      peerSessionId: packet.acks.length > 0 ? packet.peerSessionId : null,
      messageId: packet.opcode === Opcode.AckV1 ? null : isHardReset(packet.opcode) ? 0 : packet.messageId,
      payload: packet.opcode === Opcode.AckV1 ? new Uint8Array(0) : packet.payload,
    }));
}
