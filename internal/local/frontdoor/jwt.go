package frontdoor

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

const (
	// API Gateway keeps an issuer's keys for two hours.
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html
	keysLive = 2 * time.Hour
	// A key id that is not known is looked for again, but not at each token somebody makes up.
	keysRetry = 5 * time.Second
)

var (
	errNoToken  = errors.New("no token")
	errNoKID    = errors.New("the token names no key")
	errNoKey    = errors.New("the token's key is unknown")
	errAudience = errors.New("invalid audience")
)

// keySets verifies tokens with the keys that issuers publish.
type keySets struct {
	client *http.Client

	mu   sync.Mutex
	sets map[string]keySet // by issuer
}

type keySet struct {
	keys    map[string]*rsa.PublicKey
	fetched time.Time
}

func newKeySets(client *http.Client) *keySets {
	if client == nil {
		client = &http.Client{Timeout: 5 * time.Second}
	}
	return &keySets{client: client, sets: map[string]keySet{}}
}

// verify answers the claims of the request's token if the authorizer accepts it.
func (k *keySets) verify(ctx context.Context, header http.Header, a *samtemplate.Authorizer) (jwt.MapClaims, error) {
	raw := strings.Join(header.Values("Authorization"), ",")
	if len(raw) > 7 && strings.EqualFold(raw[:7], "Bearer ") {
		raw = strings.TrimSpace(raw[7:])
	}
	if raw == "" {
		return nil, errNoToken
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256", "RS384", "RS512"}),
		jwt.WithIssuer(a.Issuer),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithJSONNumber(),
	)
	claims := jwt.MapClaims{}
	_, err := parser.ParseWithClaims(raw, claims, func(t *jwt.Token) (any, error) {
		kid, ok := t.Header["kid"].(string)
		if !ok || kid == "" {
			return nil, errNoKID
		}
		return k.key(ctx, a.Issuer, kid)
	})
	if err != nil {
		return nil, err
	}
	return claims, checkAudience(claims, a.Audience)
}

// checkAudience wants aud or, only if there is no aud, client_id to be one of the configured.
func checkAudience(claims jwt.MapClaims, wanted []string) error {
	_, has := claims["aud"]
	audience, err := claims.GetAudience()
	if err != nil {
		return err
	}
	if !has {
		if id, ok := claims["client_id"].(string); ok {
			audience = []string{id}
		}
	}
	if !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(wanted, a) }) {
		return errAudience
	}
	return nil
}

func hasScope(claims jwt.MapClaims, wanted []string) bool {
	if len(wanted) == 0 {
		return true
	}
	for _, name := range []string{"scope", "scp"} {
		if text, ok := claims[name].(string); ok && slices.ContainsFunc(strings.Fields(text), func(s string) bool { return slices.Contains(wanted, s) }) {
			return true
		}
	}
	return false
}

// flatten makes every claim a text, as API Gateway hands them over: arrays as "[a b]", numbers and
// booleans as written.
func flatten(claims jwt.MapClaims) map[string]string {
	out := make(map[string]string, len(claims))
	for name, v := range claims {
		out[name] = fmt.Sprint(v)
	}
	return out
}

// key answers an issuer's public key.
func (k *keySets) key(ctx context.Context, issuer, kid string) (*rsa.PublicKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	set, ok := k.sets[issuer]
	age := time.Since(set.fetched)
	if key := set.keys[kid]; key != nil && age < keysLive {
		return key, nil
	}
	if ok && age < keysRetry {
		return nil, errNoKey
	}
	keys, err := k.fetch(ctx, issuer)
	if err != nil {
		return nil, err
	}
	k.sets[issuer] = keySet{keys: keys, fetched: time.Now()}
	if key := keys[kid]; key != nil {
		return key, nil
	}
	return nil, errNoKey
}

func (k *keySets) fetch(ctx context.Context, issuer string) (map[string]*rsa.PublicKey, error) {
	var discovery struct {
		JWKSURI string `json:"jwks_uri"`
	}
	if err := k.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &discovery); err != nil {
		return nil, fmt.Errorf("OIDC discovery endpoint communication error: %w", err)
	}
	var set struct {
		Keys []struct{ KTY, KID, N, E string } `json:"keys"`
	}
	if err := k.get(ctx, discovery.JWKSURI, &set); err != nil {
		return nil, fmt.Errorf("JWKS communication error: %w", err)
	}
	keys := map[string]*rsa.PublicKey{}
	for _, j := range set.Keys {
		n, errN := base64.RawURLEncoding.DecodeString(j.N)
		e, errE := base64.RawURLEncoding.DecodeString(j.E)
		if j.KTY != "RSA" || j.KID == "" || errN != nil || errE != nil {
			continue // not a key that this authorizer can use
		}
		keys[j.KID] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	return keys, nil
}

func (k *keySets) get(ctx context.Context, url string, into any) error {
	// One caller who leaves must not fail the fetch for the next.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, res.Status)
	}
	return json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(into)
}
