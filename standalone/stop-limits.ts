// A gateway obeys SIGTERM within 5 s. What a stop waits for, in order, and no longer than this; what is left of the 5 s is
// for its work: nft, netlink, files. A test holds the sum.

/** For clients to hear that they are to come back. Told again after 0.5 s: stock ones leave without acknowledging. */
export const GOODBYE_MS = 1_200;
/** For the data plane to end after that; then it is killed. */
export const DATA_PLANE_END_MS = 500;
/** For a reader of the log that is slow, and once more for the one behind a terminal. */
export const LOG_FLUSH_MS = 300;
