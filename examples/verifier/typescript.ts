// Asks the verifier about the token of each request. Node alone, no package; Node 24 runs it as it is.
//
// Replace the two addresses; in the cluster the verifier is apitoken-operator-verifier.apitoken-system:8090.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const listen = "127.0.0.1:8000";
const verifier = "http://127.0.0.1:8090/introspect";
const identityFile = "/var/run/secrets/apitoken.dev/token"; // the projected volume of introspection.yaml
const issuer = "ClusterTokenIssuer/builtin";
const audience = "shop";
const scope = "orders:read";
const cacheMilliseconds = 5000; // so long a revoked token still works here
const cacheEntries = 10_000;

type Answer = { active: boolean; sub?: string; scope?: string; aud?: string | string[] };

// By hash: values stay in memory no longer than their request.
const cache = new Map<string, { until: number; answer: Answer }>();

async function introspect(token: string): Promise<Answer> {
  const key = createHash("sha256").update(token).digest("hex");
  const known = cache.get(key);
  if (known && performance.now() < known.until) {
    return known.answer;
  }
  const identity = (await readFile(identityFile, "utf8")).trim(); // each time: the kubelet renews it
  const response = await fetch(verifier, {
    method: "POST",
    headers: { authorization: `Bearer ${identity}` },
    body: new URLSearchParams({ token, issuer }),
    redirect: "error",
    signal: AbortSignal.timeout(2000),
  });
  if (!response.ok) {
    throw new Error(`the verifier answers ${response.status}`);
  }
  const answer = (await response.json()) as Answer;
  if (cache.size >= cacheEntries) {
    cache.clear();
  }
  cache.set(key, { until: performance.now() + cacheMilliseconds, answer });
  return answer;
}

async function authorize(header: string): Promise<{ status: number; challenge?: string; subject?: string }> {
  const [scheme, token] = header.split(/ +/);
  if (scheme.toLowerCase() !== "bearer" || !token) {
    return { status: 401, challenge: "Bearer" };
  }
  const answer = await introspect(token);
  // The verifier says what the token is for. Whether that is enough is for the application to say.
  if (!answer.active || ![answer.aud ?? []].flat().includes(audience)) {
    return { status: 401, challenge: 'Bearer error="invalid_token"' };
  }
  if (!(answer.scope ?? "").split(" ").includes(scope)) {
    return { status: 403, challenge: `Bearer error="insufficient_scope", scope="${scope}"` };
  }
  return { status: 200, subject: answer.sub };
}

const server = createServer(async (request, response) => {
  try {
    const { status, challenge, subject } = await authorize(request.headers.authorization ?? "");
    response.writeHead(status, challenge ? { "www-authenticate": challenge } : {});
    response.end(subject ? `Hello ${subject}\n` : "");
  } catch (error) {
    console.error(error);
    response.writeHead(503).end(); // no answer, no entry
  }
});
const [host, port] = listen.split(":");
server.listen(Number(port), host);
