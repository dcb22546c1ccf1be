/** Packet types by the number in the upper five bits of the first byte. Others do not exist or are obsolete. */
export const Opcode = {
  SoftResetV1: 3,
  ControlV1: 4,
  AckV1: 5,
  DataV1: 6,
  HardResetClientV2: 7,
  HardResetServerV2: 8,
  DataV2: 9,
  HardResetClientV3: 10,
  ControlWkcV1: 11,
} as const;
export type Opcode = (typeof Opcode)[keyof typeof Opcode];
export type ControlOpcode = Exclude<Opcode, typeof Opcode.DataV1 | typeof Opcode.DataV2>;

/** The number in the upper five bits; it need not be a known opcode. */
export function opcodeOf(byte0: number): number {
  return byte0 >>> 3;
}

export function keyIdOf(byte0: number): number {
  return byte0 & 7;
}

export function firstByteFor(opcode: Opcode, keyId: number): number {
  return (opcode << 3) | keyId;
}

export function isControlOpcode(opcode: number): opcode is ControlOpcode {
  return (
    opcode >= Opcode.SoftResetV1 &&
    opcode <= Opcode.ControlWkcV1 &&
    opcode !== Opcode.DataV1 &&
    opcode !== Opcode.DataV2
  );
}

export function isDataOpcode(opcode: number): boolean {
  return opcode === Opcode.DataV1 || opcode === Opcode.DataV2;
}

export function isHardReset(opcode: number): boolean {
  return (
    opcode === Opcode.HardResetClientV2 || opcode === Opcode.HardResetServerV2 || opcode === Opcode.HardResetClientV3
  );
}

/** The key id of the next renewal: 0 is a session's first key and never returns. */
export function nextKeyId(keyId: number): number {
  return keyId === 7 ? 1 : keyId + 1;
}
