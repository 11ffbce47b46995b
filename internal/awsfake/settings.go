package awsfake

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/batch/types"
)

// Settings lists everything that Inventory lists, each with all that is known of it but points in time: two worlds in which the same was done show the
// same, and a thing that somebody changed shows so.
func (w *World) Settings() map[string]string {
	ids := w.Inventory()

	w.mu.Lock()
	defer w.mu.Unlock()

	all := map[string]string{}

	for id := range ids {
		if v := w.find(id); v != nil {
			var b strings.Builder

			write(&b, reflect.ValueOf(v))
			all[id] = b.String()
		}
	}

	return all
}

// Vanish takes a thing of the Inventory away, and whatever AWS would have wanted gone or loosened before: as somebody does with a console. It is not a
// call of AWS.
func (w *World) Vanish(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()

	service, name, _ := strings.Cut(id, " ")

	switch service {
	case "s3":
		delete(w.S3.buckets, name)
	case "iam":
		name = name[strings.LastIndex(name, "/")+1:]
		if !strings.HasPrefix(id, "iam role/") {
			delete(w.IAM.profiles, name)

			return
		}

		delete(w.IAM.roles, name)

		for _, p := range w.IAM.profiles {
			if p.role == name {
				p.role = ""
			}
		}
	case "batch":
		what, name, _ := strings.Cut(name, " ")
		if what == "environment" {
			e := w.Batch.environments[name]
			maps.DeleteFunc(w.Batch.queues, func(_ string, q *queue) bool {
				return slices.ContainsFunc(q.ComputeEnvironmentOrder, func(o types.ComputeEnvironmentOrder) bool {
					return *o.ComputeEnvironment == *e.ComputeEnvironmentArn
				})
			})
			delete(w.Batch.environments, name)
		}

		delete(w.Batch.queues, name)
		delete(w.Batch.definitions, name)
	case "ec2":
		w.EC2.vanish(name)
	}
}

// Tag adds a tag to a thing of the Inventory that has some, as somebody does with a console. It is not a call of AWS.
func (w *World) Tag(id, key, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()

	var tags map[string]string

	switch v := w.find(id).(type) {
	case interface{ labels() map[string]string }: // all of EC2's
		tags = v.labels()
	case *bucket:
		tags = v.tags
	case *role:
		tags = v.tags
	case *profile:
		tags = v.tags
	case *types.ComputeEnvironmentDetail:
		tags = v.Tags
	case *types.JobQueueDetail:
		tags = v.Tags
	case *types.JobDefinition:
		tags = v.Tags
	}

	if tags != nil {
		tags[key] = value
	}
}

func (e *EC2) vanish(id string) {
	if e.vpcs[id] != nil {
		maps.DeleteFunc(e.subnets, func(_ string, s *subnet) bool { return s.vpc == id })
		maps.DeleteFunc(e.gateways, func(_ string, g *gateway) bool { return g.vpc == id })
		maps.DeleteFunc(e.tables, func(_ string, t *table) bool { return t.vpc == id })
		maps.DeleteFunc(e.groups, func(_ string, g *group) bool { return g.vpc == id })
		maps.DeleteFunc(e.endpoints, func(_ string, p *endpoint) bool { return p.vpc == id })
	}

	if p := e.endpoints[id]; p != nil {
		e.disconnect(p, p.tables)
	}

	for _, t := range e.tables {
		maps.DeleteFunc(t.associations, func(_, subnet string) bool { return subnet == id })
		maps.DeleteFunc(t.routes, func(_, target string) bool { return target == id })
	}

	delete(e.vpcs, id)
	delete(e.gateways, id)
	e.forgetTable(id)
	delete(e.subnets, id)
	delete(e.endpoints, id)
	delete(e.groups, id)
	delete(e.templates, id)
}

// find returns what an id of the Inventory stands for. The caller holds the lock.
func (w *World) find(id string) any {
	service, name, _ := strings.Cut(id, " ")

	switch service {
	case "s3":
		return w.S3.buckets[name]
	case "iam":
		name = name[strings.LastIndex(name, "/")+1:]
		if strings.HasPrefix(id, "iam role/") {
			return w.IAM.roles[name]
		}

		return w.IAM.profiles[name]
	case "batch":
		what, name, _ := strings.Cut(name, " ")
		if what == "environment" {
			return &w.Batch.environments[name].ComputeEnvironmentDetail
		}

		if d := w.Batch.definitions[name]; d != nil {
			return d
		}

		return &w.Batch.queues[name].JobQueueDetail
	}

	e := w.EC2

	for _, found := range []any{e.vpcs[name], e.gateways[name], e.tables[name], e.subnets[name], e.endpoints[name], e.groups[name], e.templates[name]} {
		if !reflect.ValueOf(found).IsNil() {
			return found
		}
	}

	return nil
}

// write is a text of a value that depends on nothing but what is in it.
func write(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			b.WriteString("-")

			return
		}

		write(b, v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}

		b.WriteByte('{')

		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() {
				b.WriteString(v.Type().Field(i).Name + ":")
				write(b, f)
				b.WriteByte(' ')
			}
		}

		b.WriteByte('}')
	case reflect.Slice, reflect.Array:
		b.WriteByte('[')

		for i := range v.Len() {
			write(b, v.Index(i))
			b.WriteByte(' ')
		}

		b.WriteByte(']')
	case reflect.Map:
		members := map[string]string{}

		for pairs := v.MapRange(); pairs.Next(); {
			var key, member strings.Builder

			write(&key, pairs.Key())
			write(&member, pairs.Value())
			members[key.String()] = member.String()
		}

		b.WriteByte('{')

		for _, key := range slices.Sorted(maps.Keys(members)) {
			b.WriteString(key + ":" + members[key] + " ")
		}

		b.WriteByte('}')
	default:
		fmt.Fprintf(b, "%v", v)
	}
}
