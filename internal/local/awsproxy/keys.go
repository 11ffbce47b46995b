package awsproxy

import (
	"strings"
	"sync"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

// caller is who makes a call, as the access key says.
type caller struct {
	accessKey string
	account   string
	function  string
}

// isFunction says whether a function makes the call, and not a person or something unknown.
func (c caller) isFunction() bool { return c.function != "" && c.function != userFunction }

// keyRing knows whose an access key is. Keys of this computer say it themselves: LOCAL-<account>-<function>-<n>. Keys that STS gave out belong to the function
// that asked for them, in the account of the role.
type keyRing struct {
	mu      sync.Mutex
	session map[string]caller
}

func (k *keyRing) caller(accessKey string) caller {
	k.mu.Lock()
	defer k.mu.Unlock()

	if c, ok := k.session[accessKey]; ok {
		return c
	}

	rest, ok := strings.CutPrefix(accessKey, "LOCAL-")
	account, rest, found := strings.Cut(rest, "-")
	last := strings.LastIndex(rest, "-")

	if !ok || !found || last <= 0 || !isAccount(account) {
		return caller{accessKey: accessKey, account: DefaultAccount}
	}

	return caller{accessKey: accessKey, account: account, function: rest[:last]}
}

func isAccount(s string) bool {
	if len(s) != 12 {
		return false
	}

	return strings.Trim(s, "0123456789") == ""
}

// learn notes the keys in the answer to AssumeRole.
func (k *keyRing) learn(c *call, a *answer) {
	if !c.is("sts", "AssumeRole") || !a.ok() {
		return
	}

	root, err := awsmodel.ParseXML(a.body)
	if err != nil {
		return
	}

	key := root.ChildText("AssumeRoleResult", "Credentials", "AccessKeyId")

	parts := strings.SplitN(c.text("RoleArn"), ":", 6)
	if key == "" || len(parts) < 6 || !isAccount(parts[4]) {
		return
	}

	k.mu.Lock()
	defer k.mu.Unlock()

	if k.session == nil {
		k.session = map[string]caller{}
	}

	k.session[key] = caller{accessKey: key, account: parts[4], function: c.function}
}
