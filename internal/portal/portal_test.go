package portal_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/portal"
)

// heaviest is how much the whole page may weigh on the wire, in bytes.
const heaviest = 250_000

func options() portal.Options {
	return portal.Options{
		Issuer: "https://login.example/realm", ClientID: "portal", Scope: "openid", Audience: "deployer", TenantClaim: "tenant", RolesClaim: "roles", Connect: "'self'",
	}
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func get(t *testing.T, path string, header ...string) answer {
	t.Helper()

	handler, err := portal.New(options())
	if err != nil {
		t.Fatal(err)
	}

	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}

	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, r)

	return answer{rec.Code, rec.Header(), rec.Body.Bytes()}
}

// script is the path of the page's own script.
func script(t *testing.T) string {
	t.Helper()

	m := regexp.MustCompile(`src="(/portal/assets/[^"]+\.js)"`).FindSubmatch(get(t, "/portal/deployments").body)
	if m == nil {
		t.Fatal("the page has no script")
	}

	return string(m[1])
}

func TestPaths(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		reason, path string
		status       int
		media, cache string
	}{
		"Page":      {"the page's own address", "/portal/", http.StatusOK, "text/html", "no-cache"},
		"Unknown":   {"the page has paths of its own", "/portal/deployments/research/history", http.StatusOK, "text/html", "no-cache"},
		"Callback":  {"where the issuer sends people back", "/portal/callback", http.StatusOK, "text/html", "no-cache"},
		"Script":    {"its name holds its hash", script(t), http.StatusOK, "text/javascript", "immutable"},
		"Config":    {"what the login needs", "/portal/config.json", http.StatusOK, "application/json", "no-cache"},
		"OldScript": {"HTML in the place of a script would break an older page in a way that nobody understands", "/portal/assets/index-old.js", http.StatusNotFound, "text/plain", "no-store"},
		"Outside":   {"a path cannot climb out of the page", "/portal/../go.mod", http.StatusOK, "text/html", "no-cache"},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			res := get(t, tc.path)

			if res.status != tc.status || !strings.HasPrefix(res.header.Get("Content-Type"), tc.media) || !strings.Contains(res.header.Get("Cache-Control"), tc.cache) {
				t.Errorf("%s: %d %v", tc.reason, res.status, res.header)
			}

			for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy"} {
				if res.header.Get(h) == "" {
					t.Errorf("%s is missing", h)
				}
			}
		})
	}

	res := get(t, "/portal")

	if res.status != http.StatusFound || res.header.Get("Location") != "/portal/deployments" {
		t.Errorf("/portal: %d %v", res.status, res.header)
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()

	res := get(t, "/portal/")

	policy := map[string]string{}

	for part := range strings.SplitSeq(res.header.Get("Content-Security-Policy"), "; ") {
		name, value, _ := strings.Cut(part, " ")
		policy[name] = value
	}

	want := map[string]string{
		"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data:", "connect-src": "https://login.example 'self'",
		"base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'", "require-trusted-types-for": "'script'", "trusted-types": "'none'",
	}
	if diff := cmp.Diff(want, policy); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()

	path := script(t)
	plain := get(t, path).body

	for accept, packed := range map[string]bool{
		"": false, "identity": false, "br": false, "gzip;q=0": false, "gzip; q=0.0": false, "br, gzip": true, "GZIP;q=0.5": true, "*": true, "gzip, deflate, br, zstd": true,
	} {
		res := get(t, path, "Accept-Encoding", accept)
		got := res.body

		if (res.header.Get("Content-Encoding") == "gzip") != packed || res.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v", accept, res.header)
		}

		if packed {
			got = unpack(t, got)
		}

		if !bytes.Equal(got, plain) {
			t.Errorf("%q: another file", accept)
		}
	}
}

func unpack(t *testing.T, b []byte) []byte {
	t.Helper()

	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}

	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}

	return out
}

func TestNotModified(t *testing.T) {
	t.Parallel()

	for _, path := range []string{"/portal/", "/portal/config.json", script(t)} {
		first := get(t, path, "Accept-Encoding", "gzip")

		again := get(t, path, "Accept-Encoding", "gzip", "If-None-Match", first.header.Get("ETag"))

		if again.status != http.StatusNotModified {
			t.Errorf("%s: %d", path, again.status)
		}

		plain := get(t, path, "If-None-Match", first.header.Get("ETag"))

		if first.header.Get("Content-Encoding") != "" && plain.status != http.StatusOK {
			t.Errorf("%s: the compressed file's tag stands for the plain one, too", path)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()

	var got map[string]string
	if err := json.Unmarshal(get(t, "/portal/config.json").body, &got); err != nil {
		t.Fatal(err)
	}

	want := map[string]string{
		"issuer": "https://login.example/realm", "clientId": "portal", "scope": "openid", "audience": "deployer", "tenantClaim": "tenant", "rolesClaim": "roles",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(*portal.Options){
		"no URL":           func(o *portal.Options) { o.Issuer = "login.example" },
		"another scheme":   func(o *portal.Options) { o.Issuer = "javascript:alert(1)" },
		"a directive more": func(o *portal.Options) { o.Connect = "'self'; script-src *" },
		"a header more":    func(o *portal.Options) { o.Connect = "'self'\r\nX-Evil: 1" },
	} {
		o := options()
		change(&o)

		if _, err := portal.New(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestPageIsSelfContained reads what the browser gets: nothing of it may lead to another host, run inline or weigh too much.
func TestPageIsSelfContained(t *testing.T) {
	t.Parallel()

	var weight int64

	names := files(t, "dist")
	for name, content := range names {
		sent := int64(len(content))

		if packed, ok := names[name+".gz"]; ok {
			sent = int64(len(packed))

			if !bytes.Equal(unpack(t, packed), content) {
				t.Errorf("%s.gz is not %s: run `make portal`", name, name)
			}
		}

		if !strings.HasSuffix(name, ".gz") {
			weight += sent
		}

		if filepath.Ext(name) == ".css" && regexp.MustCompile(`url\((https?:)?//|@import`).Match(content) {
			t.Errorf("%s loads from elsewhere", name)
		}
	}

	if weight > heaviest {
		t.Errorf("the page weighs %d bytes compressed, more than %d", weight, heaviest)
	}

	index := names["index.html"]
	if regexp.MustCompile(`(src|href)="(https?:)?//|<style|<script>| on[a-z]+=| style=`).Match(index) {
		t.Errorf("index.html runs something inline or from elsewhere:\n%s", index)
	}
}

// TestDistIsFresh compares what is committed with what was built from the sources just now.
func TestDistIsFresh(t *testing.T) {
	t.Parallel()

	built := os.Getenv("METAFLOW_DEPLOYER_PORTAL")
	if built == "" {
		t.Skip("METAFLOW_DEPLOYER_PORTAL does not name where the page was built; `make test` sets it")
	}

	want, got := files(t, filepath.Join(built, "dist")), files(t, "dist")

	for name := range want {
		// Another zlib may compress the same in another way; that it is the same is looked at elsewhere.
		if !strings.HasSuffix(name, ".gz") && !bytes.Equal(want[name], got[name]) {
			t.Errorf("dist/%s is stale: run `make portal`", name)
		}
	}

	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("dist/%s is of an older build: run `make portal`", name)
		}
	}
}

// TestLockNamesNoRegistry: who builds the page chooses where packages come from.
func TestLockNamesNoRegistry(t *testing.T) {
	t.Parallel()

	lock, err := os.ReadFile(filepath.Join("web", "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}

	if bytes.Contains(lock, []byte(`"resolved"`)) || !bytes.Contains(lock, []byte(`"integrity"`)) {
		t.Error("web/package-lock.json must hold integrity hashes and no addresses: npm's omit-lockfile-registry-resolved is set in web/.npmrc")
	}
}

func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()

	found := map[string][]byte{}

	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}

		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}

		found[filepath.ToSlash(name)], err = os.ReadFile(path)

		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	return found
}
