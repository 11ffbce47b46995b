package awsproxy

import (
	"sync"
	"time"
)

// worlds holds what the tables remember, one world for each account.
type worlds struct {
	mu       sync.Mutex
	accounts map[string]*world
	// owners are the accounts of buckets, whose names all accounts share.
	owners map[string]string
}

// reset forgets everything, as moto has.
func (w *worlds) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.accounts, w.owners = nil, nil
}

// ownerOf gives the account that made a bucket through this endpoint, empty where none did.
func (w *worlds) ownerOf(bucket string) string {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.owners[bucket]
}

// own notes the owner of a bucket; an empty account says that the bucket is gone.
func (w *worlds) own(bucket, account string) {
	w.mu.Lock()
	defer w.mu.Unlock()

	if w.owners == nil {
		w.owners = map[string]string{}
	}

	if account == "" {
		delete(w.owners, bucket)

		return
	}

	w.owners[bucket] = account
}

func (w *worlds) of(account string) *world {
	w.mu.Lock()
	defer w.mu.Unlock()

	if w.accounts == nil {
		w.accounts = map[string]*world{}
	}

	if w.accounts[account] == nil {
		w.accounts[account] = &world{
			paths: map[string]string{}, tokens: map[string]*replay{}, policies: map[string]string{}, compute: map[string]map[string]any{},
			counts: map[string]int{}, born: map[string]time.Time{}, invalid: map[string]string{},
		}
	}

	return w.accounts[account]
}

// world is what the tables remember of one account. moto keeps everything else.
type world struct {
	mu sync.Mutex
	// paths of roles and instance profiles, by noun and name.
	paths map[string]string
	// tokens are the answers given to client tokens.
	tokens map[string]*replay
	// policies are bucket policies that moto must not judge.
	policies map[string]string
	// compute are the compute resources of updated environments, by name.
	compute map[string]map[string]any
	// held are things that are shown in a state between.
	held []*held
	// counts are how often strict rules still take effect, each under keys of its own. A key that was never set counts from the rule's own number.
	counts map[string]int
	// born are the times at which roles and profiles were made or changed, by noun and name.
	born map[string]time.Time
	// invalid are the reasons of compute environments that are INVALID, by Region and name.
	invalid map[string]string
}

// path gives the path of a role or profile: the one it was created with, else "/". A path that is given is remembered.
func (w *world) path(noun, name, given string) string {
	w.mu.Lock()
	defer w.mu.Unlock()

	if given != "" {
		w.paths[noun+" "+name] = given
	}

	if path := w.paths[noun+" "+name]; path != "" {
		return path
	}

	return "/"
}

// with runs f while it alone has the world.
func (w *world) with(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()

	f()
}

// set lets a strict rule take effect n times under the key.
func (w *world) set(key string, n int) { w.with(func() { w.counts[key] = n }) }

// spend says whether a rule still takes effect under the key, and counts it. What was never set takes effect never.
func (w *world) spend(key string) bool {
	spent := false

	w.with(func() {
		if w.counts[key] > 0 {
			w.counts[key]--

			spent = true
		}
	})

	return spent
}

// first says whether the key comes up for the first time.
func (w *world) first(key string) bool {
	first := false

	w.with(func() {
		if _, seen := w.counts[key]; !seen {
			w.counts[key] = 0
			first = true
		}
	})

	return first
}
