import type { ControlPacket } from '../../dataplane/protocol/control-packet.ts';
import { plainWrap, type ControlWrap } from '../../dataplane/protocol/control-wrap.ts';
import { Opcode } from '../../dataplane/protocol/opcode.ts';
import { WrapPacketIds } from '../../dataplane/protocol/wrap-packet-id.ts';

export const CLIENT_SESSION_ID = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

/** One control packet of a client, a hard reset unless told otherwise. */
export function clientPacket(
  changes: Partial<ControlPacket> = {},
  wrap: ControlWrap = plainWrap(),
  ids = new WrapPacketIds(1_767_225_600),
): Uint8Array {
  return wrap.wrap(
    {
      opcode: Opcode.HardResetClientV2,
      keyId: 0,
      sessionId: CLIENT_SESSION_ID,
      acks: [],
      peerSessionId: null,
      messageId: 0,
      payload: new Uint8Array(0),
      ...changes,
    },
    ids,
  );
}

/** A packet of the server, without a wrap. */
export function decodePlain(bytes: Uint8Array): ControlPacket {
  const unwrapped = plainWrap().unwrap(bytes);
  if (!unwrapped.ok) throw new RangeError(`Not a control packet: ${unwrapped.reason}`);
  return unwrapped.packet;
}
