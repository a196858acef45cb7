/** SHA-256 in this browser: what is shown is compared with what is signed, without trusting the server's word for it. */
import { useQuery } from '@tanstack/react-query';
import type { DigestInput, RequestDetail } from './requests.ts';

export async function sha256Hex(text: string): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

export interface DigestCheck {
  /** undefined while it is computed. */
  readonly verdict: 'equal' | 'different' | undefined;
  /** What is wrong, in words. */
  readonly problem: string | undefined;
  readonly computed: string | undefined;
}

/** Whether the shown fields have the request's digest, and the shown definition file has the digest that is among them. */
export function useDigestCheck(request: RequestDetail, input: DigestInput): DigestCheck {
  const { data, error } = useQuery({
    queryKey: ['digest-check', request.id, request.digest, request.digestInputJson, request.evidence.source],
    queryFn: () => checkDigest(request, input),
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
  if (error !== null) {
    const problem = 'this browser cannot compute SHA-256 here: the page is for https, or for this machine itself';
    return { verdict: 'different', problem, computed: undefined };
  }
  return data ?? { verdict: undefined, problem: undefined, computed: undefined };
}

async function checkDigest(request: RequestDetail, input: DigestInput): Promise<DigestCheck> {
  const computed = await sha256Hex(request.digestInputJson);
  if (computed !== request.digest) {
    return { verdict: 'different', problem: 'what is shown does not have the digest of this request', computed };
  }
  const { source } = request.evidence;
  if (input.job !== undefined && source !== undefined && (await sha256Hex(source)) !== input.job.contentDigest) {
    const problem = 'the definition file that is shown is not the one that the digest names';
    return { verdict: 'different', problem, computed };
  }
  return { verdict: 'equal', problem: undefined, computed };
}
