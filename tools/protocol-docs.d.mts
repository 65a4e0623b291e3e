/** The text of docs/protocol.md, made from dist/protocol.
 *  @throws Error for a field without a description and for a limit without a meaning. */
export function protocolDocs(): string;
