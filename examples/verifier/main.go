// Asks the verifier about the token of each request. Standard library only.
//
// Replace the two addresses; in the cluster the verifier is apitoken-operator-verifier.apitoken-system:8090.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	listen       = "127.0.0.1:8000"
	verifier     = "http://127.0.0.1:8090/introspect"
	identityFile = "/var/run/secrets/apitoken.dev/token" // the projected volume of introspection.yaml
	issuer       = "ClusterTokenIssuer/builtin"
	audience     = "shop"
	scope        = "orders:read"
	cacheFor     = 5 * time.Second // so long a revoked token still works here
	cacheEntries = 10_000
)

type answer struct {
	Active bool      `json:"active"`
	Sub    string    `json:"sub"`
	Scope  string    `json:"scope"`
	Aud    audiences `json:"aud"`
	until  time.Time
}

// audiences is one string or several, as RFC 7662 has it.
type audiences []string

func (a *audiences) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		*a = make(audiences, 1)
		return json.Unmarshal(data, &(*a)[0])
	}
	return json.Unmarshal(data, (*[]string)(a))
}

var (
	mutex sync.Mutex
	cache = map[[32]byte]answer{} // by hash: values stay in memory no longer than their request
	// Without a Proxy: HTTP_PROXY must not see tokens.
	client = http.Client{Transport: &http.Transport{}, Timeout: 2 * time.Second}
)

func introspect(token string) (answer, error) {
	key := sha256.Sum256([]byte(token))
	mutex.Lock()
	known := cache[key]
	mutex.Unlock()
	if time.Now().Before(known.until) {
		return known, nil
	}
	said, err := ask(token)
	if err != nil {
		return answer{}, err
	}
	said.until = time.Now().Add(cacheFor)
	mutex.Lock()
	defer mutex.Unlock()
	if len(cache) >= cacheEntries {
		clear(cache)
	}
	cache[key] = said
	return said, nil
}

func ask(token string) (said answer, err error) {
	identity, err := os.ReadFile(identityFile) // each time: the kubelet renews it
	if err != nil {
		return said, err
	}
	form := url.Values{"token": {token}, "issuer": {issuer}}
	request, err := http.NewRequest("POST", verifier, strings.NewReader(form.Encode()))
	if err != nil {
		return said, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(identity)))
	response, err := client.Do(request)
	if err != nil {
		return said, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return said, fmt.Errorf("the verifier answers %s", response.Status)
	}
	return said, json.NewDecoder(response.Body).Decode(&said)
}

func serve(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		refuse(w, http.StatusUnauthorized, `Bearer`)
		return
	}
	said, err := introspect(strings.TrimSpace(token))
	switch {
	case err != nil: // no answer, no entry
		log.Print(err)
		w.WriteHeader(http.StatusServiceUnavailable)
	// The verifier says what the token is for. Whether that is enough is for the application to say.
	case !said.Active || !slices.Contains(said.Aud, audience):
		refuse(w, http.StatusUnauthorized, `Bearer error="invalid_token"`)
	case !slices.Contains(strings.Fields(said.Scope), scope):
		refuse(w, http.StatusForbidden, `Bearer error="insufficient_scope", scope="`+scope+`"`)
	default:
		fmt.Fprintln(w, "Hello", said.Sub)
	}
}

func refuse(w http.ResponseWriter, status int, challenge string) {
	w.Header().Set("WWW-Authenticate", challenge)
	w.WriteHeader(status)
}

func main() {
	log.Fatal(http.ListenAndServe(listen, http.HandlerFunc(serve)))
}
