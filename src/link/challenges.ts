import type { Identity } from '../crypto/identity.js';
import type { Posture } from '../machine/posture.js';
import type { InstalledModel } from '../models/store.js';
import type { AttestationChallenge } from '../protocol/coordinator-messages.js';
import type { AttestationResponse } from '../protocol/provider-messages.js';

/** The honest answer of a node without a Secure Enclave key: true values, and a signature by a software key. */
export function answerChallenge(
  challenge: AttestationChallenge,
  { identity, posture, models }: { identity: Identity; posture: Posture; models: readonly InstalledModel[] },
): AttestationResponse {
  const hashes = models.flatMap(({ id, weightHash }) => (weightHash === undefined ? [] : [[id, weightHash] as const]));
  return {
    type: 'attestation_response',
    nonce: challenge.nonce,
    signature: identity.sign(challenge.nonce + challenge.timestamp),
    public_key: identity.publicKey,
    rdma_disabled: posture.rdmaDisabled,
    sip_enabled: posture.sipEnabled,
    ...(posture.secureBootEnabled === undefined ? {} : { secure_boot_enabled: posture.secureBootEnabled }),
    ...(posture.capabilities.hypervisor_active === undefined
      ? {}
      : { hypervisor_active: posture.capabilities.hypervisor_active }),
    ...(hashes.length === 0 ? {} : { model_hashes: Object.fromEntries(hashes) }),
  };
}
