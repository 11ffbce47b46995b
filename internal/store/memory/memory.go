// Package memory keeps records in this process, with exactly the behaviour that store/storetest asks of every store. It serves tests and simulations.
package memory

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// Fault breaks a call: Before is answered instead of acting, Lost after acting; After is called after acting, with the lock held: a test lets the caller
// die there.
type Fault struct {
	Before, Lost error
	After        func()
}

// Store implements store.Store and its neighbours. The zero value is not usable; New makes one. Now, Fault and Moved are to be set before the first call.
type Store struct {
	// Now is the clock of claims.
	Now func() time.Time
	// Fault, where set, is asked before each call with the name of the method. It runs without the store's lock.
	Fault func(ctx context.Context, method string, key deploy.Key) Fault
	// Moved, where set, is told each time that a header's phase changes, with the lock held. Phases begin empty.
	Moved func(key deploy.Key, from, to deploy.Phase)

	mu      sync.Mutex
	records map[string]map[string]*record // by tenant and name
	claims  map[store.Claim]claimed
	orphans map[string]deploy.Orphan
	sweeps  map[string]deploy.Sweep

	events    map[deploy.Key][]deploy.Event
	entries   map[entryID]deploy.Entry
	usage     map[string]deploy.Usage
	grants    map[grantID]deploy.Grant
	webhooks  map[webhookID]deploy.Webhook
	callbacks map[callbackID]deploy.Callback
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Sweeps    = (*Store)(nil)
	_ store.Tenants   = (*Store)(nil)
	_ store.Trail     = (*Store)(nil)
	_ store.Grants    = (*Store)(nil)
	_ store.Webhooks  = (*Store)(nil)
	_ store.Callbacks = (*Store)(nil)
)

type record struct {
	header     deploy.Deployment
	operations map[string]deploy.Operation
	resources  []*frozen // by their refs
}

// place is where a resource stands, or would stand.
func (r *record) place(ref deploy.Ref) (i int, found bool) {
	return slices.BinarySearchFunc(r.resources, ref, func(x *frozen, ref deploy.Ref) int { return cmp.Compare(x.Ref, ref) })
}

// version is that of a resource, 0 if there is none.
func (r *record) version(ref deploy.Ref) int64 {
	if i, found := r.place(ref); found {
		return r.resources[i].Version
	}

	return 0
}

// put writes a resource as its next version.
func (r *record) put(x deploy.Resource) {
	f := freeze(x)
	f.Version++

	if i, found := r.place(x.Ref); found {
		r.resources[i] = &f
	} else {
		r.resources = slices.Insert(r.resources, i, &f)
	}
}

func (s *Store) record(key deploy.Key) *record { return s.records[key.Tenant][key.Name] }

type claimed struct {
	claim  store.Claim
	answer *store.Answer
	until  time.Time
}

// New makes an empty store on the computer's clock.
func New() *Store {
	return &Store{
		Now: time.Now, records: map[string]map[string]*record{}, claims: map[store.Claim]claimed{},
		orphans: map[string]deploy.Orphan{}, sweeps: map[string]deploy.Sweep{},
		events: map[deploy.Key][]deploy.Event{}, entries: map[entryID]deploy.Entry{}, usage: map[string]deploy.Usage{}, grants: map[grantID]deploy.Grant{},
		webhooks: map[webhookID]deploy.Webhook{}, callbacks: map[callbackID]deploy.Callback{},
	}
}

// do runs one call under the lock, with its fault around it.
func do[T any](ctx context.Context, s *Store, method string, key deploy.Key, act func() (T, error)) (T, error) {
	var (
		none  T
		fault Fault
	)

	if s.Fault != nil {
		fault = s.Fault(ctx, method, key)
	}

	if err := ctx.Err(); err != nil {
		return none, err
	}

	if fault.Before != nil {
		return none, fault.Before
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	out, err := act()

	if fault.After != nil {
		fault.After()
	}

	if fault.Lost != nil {
		return none, fault.Lost
	}

	return out, err
}

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, key deploy.Key) (*store.Record, error) {
	return do(ctx, s, "Load", key, func() (*store.Record, error) {
		r := s.record(key)
		if r == nil || r.header.Version == 0 {
			return nil, store.ErrNotFound
		}

		op, ok := r.operations[r.header.Operation]
		if !ok {
			return nil, fmt.Errorf("deployment %s names operation %s, which was never written", key.Name, r.header.Operation)
		}

		out := store.Record{Deployment: r.header, Operation: op, Resources: make([]deploy.Resource, 0, len(r.resources))}
		for _, x := range r.resources {
			out.Resources = append(out.Resources, x.thaw())
		}

		detach(reflect.ValueOf(&out.Deployment).Elem())
		detach(reflect.ValueOf(&out.Operation).Elem())

		return &out, nil
	})
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, key deploy.Key, change *store.Change) error {
	_, err := do(ctx, s, "Commit", key, func() (struct{}, error) { return struct{}{}, s.commit(key, change) })
	if err != nil {
		return err
	}

	if change.Deployment != nil {
		change.Deployment.Version++
	}

	for i := range change.Operations {
		change.Operations[i].Version++
	}

	for i := range change.Resources {
		change.Resources[i].Version++
	}

	return nil
}

func (s *Store) commit(key deploy.Key, change *store.Change) error {
	if err := change.Sound(key); err != nil {
		return err
	}

	r := s.record(key)
	if r == nil {
		r = &record{operations: map[string]deploy.Operation{}}
	}

	if s.stale(key, r, change) {
		return store.ErrStale
	}

	if u := change.Usage; u != nil {
		if err := s.move(key.Tenant, *u); err != nil {
			return err
		}
	}

	if s.records[key.Tenant] == nil {
		s.records[key.Tenant] = map[string]*record{}
	}

	s.records[key.Tenant][key.Name] = r

	if change.Deployment != nil {
		if to := change.Deployment.Phase; s.Moved != nil && to != r.header.Phase {
			s.Moved(key, r.header.Phase, to)
		}

		r.header = *clone(change.Deployment)
		r.header.Version++
	}

	for i := range change.Operations {
		op := *clone(&change.Operations[i])
		op.Version++
		r.operations[op.ID] = op
	}

	for i := range change.Resources {
		r.put(change.Resources[i])
	}

	for _, x := range change.Drop {
		if i, found := r.place(x.Ref); found {
			r.resources = slices.Delete(r.resources, i, i+1)
		}
	}

	if a := change.Answer; a != nil {
		s.claims[slot(a.Claim)] = claimed{claim: a.Claim, answer: clone(a), until: s.Now().Add(24 * time.Hour)}
	}

	for i := range change.Events {
		s.events[key] = append(s.events[key], *clone(&change.Events[i]))
	}

	for _, e := range change.Entries {
		s.entries[entryID{e.Tenant, e.ID}] = e
	}

	return nil
}

// Forget drops a deployment's record: a large simulation need not keep what is over. It is no call of a store.
func (s *Store) Forget(key deploy.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()

	delete(s.records[key.Tenant], key.Name)
	delete(s.events, key)
}

// stale tells whether anything that the change rests on is not as it was read.
func (s *Store) stale(key deploy.Key, r *record, change *store.Change) bool {
	if d := change.Deployment; d != nil && r.header.Version != d.Version {
		return true
	}

	for _, op := range change.Operations {
		if r.operations[op.ID].Version != op.Version {
			return true
		}
	}

	for _, x := range change.Resources {
		if r.version(x.Ref) != x.Version {
			return true
		}
	}

	for _, x := range change.Drop {
		if i, found := r.place(x.Ref); !found || r.resources[i].Version != x.Version {
			return true
		}
	}

	for _, e := range change.Events {
		if slices.ContainsFunc(s.events[key], func(old deploy.Event) bool { return old.Sequence == e.Sequence }) {
			return true
		}
	}

	for _, e := range change.Entries {
		if s.taken(e) {
			return true
		}
	}

	if change.Answer == nil {
		return false
	}

	found, ok := s.claims[slot(change.Answer.Claim)]

	return ok && !s.lapsed(found) && !found.open(change.Answer.Claim)
}

// Save implements store.Store.
func (s *Store) Save(ctx context.Context, key deploy.Key, x *deploy.Resource) error {
	_, err := do(ctx, s, "Save", key, func() (struct{}, error) {
		r := s.record(key)
		if r == nil || r.version(x.Ref) != x.Version {
			return struct{}{}, store.ErrStale
		}

		r.put(*x)

		return struct{}{}, nil
	})
	if err == nil {
		x.Version++
	}

	return err
}

// Operation implements store.Store.
func (s *Store) Operation(ctx context.Context, key deploy.Key, id string) (deploy.Operation, error) {
	return do(ctx, s, "Operation", key, func() (deploy.Operation, error) {
		if r := s.record(key); r != nil {
			if op, ok := r.operations[id]; ok {
				return *clone(&op), nil
			}
		}

		return deploy.Operation{}, store.ErrNotFound
	})
}

// Operations implements store.Store.
func (s *Store) Operations(ctx context.Context, key deploy.Key, size int, after string) ([]deploy.Operation, error) {
	return do(ctx, s, "Operations", key, func() ([]deploy.Operation, error) {
		var ops []deploy.Operation

		if r := s.record(key); r != nil {
			for _, op := range r.operations {
				if after == "" || op.ID < after {
					ops = append(ops, *clone(&op))
				}
			}
		}

		slices.SortFunc(ops, func(a, b deploy.Operation) int { return strings.Compare(b.ID, a.ID) })

		return ops[:min(size, len(ops))], nil
	})
}

// Deployments implements store.Store.
func (s *Store) Deployments(ctx context.Context, list store.List) (page []deploy.Deployment, more bool, err error) {
	page, err = do(ctx, s, "Deployments", deploy.Key{Tenant: list.Tenant}, func() ([]deploy.Deployment, error) {
		var all []deploy.Deployment

		for name, r := range s.records[list.Tenant] {
			if name <= list.After || r.header.Version == 0 || r.header.Phase == deploy.PhaseDeleted && !list.Deleted {
				continue
			}

			all = append(all, *clone(&r.header))
		}

		slices.SortFunc(all, func(a, b deploy.Deployment) int { return strings.Compare(a.Name, b.Name) })

		// In the order of their names, as everywhere: a caller may remember how far was looked.
		if list.Match != nil {
			all = slices.DeleteFunc(all, func(d deploy.Deployment) bool { return !list.Match(d) })
		}

		more = len(all) > list.Size

		return all[:min(list.Size, len(all))], nil
	})

	return page, more, err
}

// Unfinished implements store.Store.
func (s *Store) Unfinished(ctx context.Context, before time.Time, limit int) ([]deploy.Key, error) {
	return do(ctx, s, "Unfinished", deploy.Key{}, func() ([]deploy.Key, error) {
		return due(s.everywhere(), limit, func(d *deploy.Deployment) bool { return d.Unfinished && !d.Queued && d.CheckTime.Before(before) }), nil
	})
}

// everywhere are the records of all tenants.
func (s *Store) everywhere() iter.Seq[*record] {
	return func(yield func(*record) bool) {
		for _, own := range s.records {
			for _, r := range own {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// due lists those deployments that are of a sort by their CheckTime, at most limit.
func due(all iter.Seq[*record], limit int, sort func(*deploy.Deployment) bool) []deploy.Key {
	var found []*deploy.Deployment

	for r := range all {
		if sort(&r.header) {
			found = append(found, &r.header)
		}
	}

	slices.SortFunc(found, func(a, b *deploy.Deployment) int {
		return cmp.Or(a.CheckTime.Compare(b.CheckTime), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Name, b.Name))
	})

	var keys []deploy.Key
	for _, d := range found[:min(limit, len(found))] {
		keys = append(keys, d.Key)
	}

	return keys
}

// Claim implements store.Store.
func (s *Store) Claim(ctx context.Context, c store.Claim) (*store.Answer, error) {
	return do(ctx, s, "Claim", deploy.Key{Tenant: c.Tenant}, func() (*store.Answer, error) {
		found, ok := s.claims[slot(c)]

		switch {
		case !ok || s.lapsed(found):
			s.claims[slot(c)] = claimed{claim: c, until: s.Now().Add(time.Minute)}

			return nil, nil //nolint:nilnil // no answer stands: the claim is taken
		case found.claim.Fingerprint != c.Fingerprint:
			return nil, store.ErrMismatch
		case found.answer == nil:
			return nil, store.ErrBusy
		default:
			return clone(found.answer), nil
		}
	})
}

// Release implements store.Store. An answer that stands already, or somebody else's claim, is not touched.
func (s *Store) Release(ctx context.Context, c store.Claim) error {
	_, err := do(ctx, s, "Release", deploy.Key{Tenant: c.Tenant}, func() (struct{}, error) {
		if s.claims[slot(c)].open(c) {
			delete(s.claims, slot(c))
		}

		return struct{}{}, nil
	})

	return err
}

// slot is where the claim of a key stands: two tenants may use the same key.
func slot(c store.Claim) store.Claim { return store.Claim{Tenant: c.Tenant, Key: c.Key} }

// open tells whether this is the claim of that request and not yet answered.
func (c claimed) open(by store.Claim) bool { return c.claim == by && c.answer == nil }

func (s *Store) lapsed(c claimed) bool { return s.Now().After(c.until) }

// frozen is a resource as the store keeps it. A record has many, and every step reads and writes them: copying them by reflection took a third of a simulated
// world's time, and their maps most of its memory. A test holds what is thawed against what clone makes of it.
type frozen struct {
	deploy.Resource

	outputs, memo []string
}

func freeze(r deploy.Resource) frozen {
	f := frozen{r, words(r.Outputs), words(r.Memo)}
	f.Outputs, f.Memo = nil, nil
	f.Needs = append([]deploy.Ref(nil), r.Needs...)
	f.Ensure, f.Remove = step(r.Ensure), step(r.Remove)

	return f
}

func (f *frozen) thaw() deploy.Resource {
	r := f.Resource
	r.Needs = append([]deploy.Ref(nil), r.Needs...)
	r.Outputs, r.Memo = pairs(f.outputs), pairs(f.memo)
	r.Ensure, r.Remove = step(r.Ensure), step(r.Remove)

	return r
}

// words lists the keys of a map, each with its value behind it; pairs is the way back.
func words(m map[string]string) []string {
	if len(m) == 0 {
		return nil
	}

	list := make([]string, 0, 2*len(m))
	for k, v := range m {
		list = append(list, k, v)
	}

	return list
}

func pairs(list []string) map[string]string {
	if len(list) == 0 {
		return nil
	}

	m := make(map[string]string, len(list)/2)
	for i := 0; i < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}

	return m
}

func step(s *deploy.Step) *deploy.Step {
	if s == nil {
		return nil
	}

	c := *s
	c.Error = trouble(s.Error)

	return &c
}

func trouble(e *deploy.Error) *deploy.Error {
	if e == nil {
		return nil
	}

	return &deploy.Error{
		Class: e.Class, Code: e.Code, Message: e.Message, Remedy: e.Remedy, Pointer: e.Pointer, Resource: e.Resource, AWSCode: e.AWSCode, RequestID: e.RequestID,
	}
}

// clone copies a noun as a table would: nothing of it is shared, an empty list or map is none, and an error loses its cause. It works by reflection because
// the detour through JSON took two thirds of the time of a simulated world.
func clone[T any](v *T) *T {
	c := *v
	detach(reflect.ValueOf(&c).Elem())

	return &c
}

// detach gives a value copies of everything that it points to.
func detach(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}

		var fresh reflect.Value

		if e, ok := v.Interface().(*deploy.Error); ok {
			fresh = reflect.ValueOf(trouble(e))
		} else {
			fresh = reflect.New(v.Type().Elem())
			fresh.Elem().Set(v.Elem())
			detach(fresh.Elem())
		}

		v.Set(fresh)
	case reflect.Slice:
		if v.Len() == 0 {
			v.SetZero()

			return
		}

		fresh := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(fresh, v)

		for i := 0; i < fresh.Len() && !flat(fresh.Type().Elem()); i++ {
			detach(fresh.Index(i))
		}

		v.Set(fresh)
	case reflect.Map:
		if v.Len() == 0 {
			v.SetZero()

			return
		}

		fresh := reflect.MakeMapWithSize(v.Type(), v.Len())

		for pairs := v.MapRange(); pairs.Next(); {
			member := reflect.New(v.Type().Elem()).Elem()
			member.Set(pairs.Value())
			detach(member)
			fresh.SetMapIndex(pairs.Key(), member)
		}

		v.Set(fresh)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}

		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && !flat(f.Type()) {
				detach(f)
			}
		}
	default:
	}
}

// flat tells whether values of a type share nothing when they are copied.
func flat(t reflect.Type) bool {
	k := t.Kind()

	return k != reflect.Pointer && k != reflect.Slice && k != reflect.Map && k != reflect.Struct || t == reflect.TypeFor[time.Time]()
}
