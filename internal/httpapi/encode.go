package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Deployments are what callers read most, and a page holds up to 100 of them: encoding/json took nine tenths of the time of a list, most of it reflection. So
// they write themselves. Everything else is encoding/json's. TestEncoding holds the two against each other, member by member: a member that was added to the
// structs and not here fails there.

// appender writes itself as encoding/json would.
type appender interface{ appendJSON(b []byte) []byte }

// format is JSON as huma writes it, with a way round encoding/json for what knows one.
func format() huma.Format {
	f := huma.DefaultJSONFormat
	slow := f.Marshal
	buffers := sync.Pool{New: func() any { return new([]byte) }}

	f.Marshal = func(w io.Writer, v any) error {
		a, ok := v.(appender)
		if !ok {
			return slow(w, v)
		}

		b, _ := buffers.Get().(*[]byte)
		defer buffers.Put(b)

		*b = append(a.appendJSON((*b)[:0]), '\n')
		_, err := w.Write(*b)

		return err
	}

	return f
}

func (p Deployments) appendJSON(in []byte) []byte {
	b := append(out(in), `{"deployments":[`...)

	for i := range p.Deployments {
		b = p.Deployments[i].appendJSON(b.item())
	}

	return append(append(b, ']').some(`"nextPageToken":`, p.NextPageToken), '}')
}

func (d *Deployment) appendJSON(in []byte) []byte {
	b := append(out(in), '{')
	b = b.text(`"name":`, d.Name)
	b = b.text(`"tenant":`, d.Tenant)
	b = b.text(`"phase":`, string(d.Phase))
	b = b.spec(&d.Spec)
	b = b.pairs(`"labels":`, d.Labels)
	b = b.text(`"region":`, d.Region)
	b = b.text(`"account":`, d.Account)
	b = b.text(`"owner":`, d.Owner)
	b = b.moment(`"createTime":`, d.CreateTime)
	b = b.moment(`"updateTime":`, d.UpdateTime)

	if d.ExpireTime != nil {
		b = b.moment(`"expireTime":`, *d.ExpireTime)
	}

	b = b.text(`"operation":`, d.Operation)
	b = append(b, `,"resources":{`...)
	b = b.number(`"total":`, d.Resources.Total)
	b = b.number(`"ready":`, d.Resources.Ready)
	b = append(b, '}')
	b = b.text(`"etag":`, d.ETag)

	return append(b, '}')
}

func (b out) spec(s *deploy.Spec) out {
	b = b.open(`"spec":{`)
	b = b.storage(&s.Storage)
	b = b.network(&s.Network)

	if s.Access.Existing != nil {
		b = b.open(`"access":{"existing":{`)
		b = b.text(`"jobRoleArn":`, s.Access.Existing.JobRoleARN)
		b = append(b, `}}`...)
	}

	b = b.compute(&s.Compute)

	if len(s.Tags) > 0 {
		b = b.pairs(`"tags":`, s.Tags)
	}

	return append(b, '}')
}

func (b out) storage(s *deploy.Storage) out {
	const name = `"storage":{`

	b = b.open(name)

	if s.Existing != nil {
		b = b.open(`"existing":{`)
		b = b.text(`"bucket":`, s.Existing.Bucket)
		b = b.some(`"prefix":`, s.Existing.Prefix)
		b = append(b, '}')
	}

	b = b.some(`"flowsPrefix":`, s.FlowsPrefix)
	b = b.some(`"dataToolsPrefix":`, s.DataToolsPrefix)
	b = b.count(`"oldVersionsDays":`, s.OldVersionsDays)

	return b.closeIfAny(name)
}

func (b out) network(n *deploy.Network) out {
	const name = `"network":{`

	b = b.open(name)
	b = b.some(`"mode":`, string(n.Mode))
	b = b.some(`"cidr":`, n.CIDR)
	b = b.list(`"zones":`, n.Zones)

	if n.Existing != nil {
		b = b.open(`"existing":{`)
		b = b.text(`"vpcId":`, n.Existing.VPCID)
		b = b.array(`"subnetIds":`, n.Existing.SubnetIDs)
		b = b.list(`"securityGroupIds":`, n.Existing.SecurityGroupIDs)
		b = append(b, '}')
	}

	return b.closeIfAny(name)
}

func (b out) compute(c *deploy.Compute) out {
	const name = `"compute":{`

	b = b.open(name)

	if len(c.Environments) > 0 {
		b = b.open(`"environments":[`)

		for i := range c.Environments {
			e := &c.Environments[i]

			b = b.open(`{`)
			b = b.text(`"name":`, e.Name)
			b = b.some(`"type":`, string(e.Type))
			b = b.list(`"instanceTypes":`, e.InstanceTypes)
			b = b.count(`"maxVcpus":`, e.MaxVcpus)
			b = b.count(`"minVcpus":`, e.MinVcpus)
			b = b.some(`"allocationStrategy":`, e.AllocationStrategy)
			b = b.count(`"diskGiB":`, e.DiskGiB)
			b = append(b, '}')
		}

		b = append(b, ']')
	}

	if len(c.Queues) > 0 {
		b = b.open(`"queues":[`)

		for i := range c.Queues {
			q := &c.Queues[i]

			b = b.open(`{`)
			b = b.text(`"name":`, q.Name)
			b = b.count(`"priority":`, q.Priority)
			b = b.list(`"environments":`, q.Environments)

			if q.Existing != nil {
				b = b.open(`"existing":{`)
				b = b.text(`"arn":`, q.Existing.ARN)
				b = append(b, '}')
			}

			b = append(b, '}')
		}

		b = append(b, ']')
	}

	return b.some(`"defaultQueue":`, c.DefaultQueue).closeIfAny(name)
}

// out is JSON that is being written. Keys come quoted, with their colon.
type out []byte

// item begins an item of an array, or a member.
func (b out) item() out {
	if last := b[len(b)-1]; last != '{' && last != '[' {
		b = append(b, ',')
	}

	return b
}

// open begins an object or an array; with keys before it as a member.
func (b out) open(text string) out { return append(b.item(), text...) }

// closeIfAny ends an object, or takes it back with its key if nothing came into it (omitzero).
func (b out) closeIfAny(opened string) out {
	if b[len(b)-1] != '{' {
		return append(b, '}')
	}

	if b = b[:len(b)-len(opened)]; b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}

	return b
}

func (b out) text(key, value string) out { return appendText(append(b.item(), key...), value) }

// some is text that is left out where it is empty.
func (b out) some(key, value string) out {
	if value == "" {
		return b
	}

	return b.text(key, value)
}

func (b out) number(key string, n int) out {
	return strconv.AppendInt(append(b.item(), key...), int64(n), 10)
}

// count is a number that is left out where it is 0.
func (b out) count(key string, n int) out {
	if n == 0 {
		return b
	}

	return b.number(key, n)
}

func (b out) moment(key string, t time.Time) out {
	b = append(append(b.item(), key...), '"')

	return append(t.AppendFormat(b, time.RFC3339Nano), '"')
}

// list is an array that is left out where it is empty.
func (b out) list(key string, texts []string) out {
	if len(texts) == 0 {
		return b
	}

	return b.array(key, texts)
}

func (b out) array(key string, texts []string) out {
	b = append(b.item(), key...)
	if texts == nil {
		return append(b, "null"...)
	}

	b = append(b, '[')

	for _, t := range texts {
		b = appendText(b.item(), t)
	}

	return append(b, ']')
}

func (b out) pairs(key string, m map[string]string) out {
	b = append(b.item(), key...)

	switch {
	case m == nil:
		return append(b, "null"...)
	case len(m) == 0:
		return append(b, "{}"...)
	}

	b = append(b, '{')

	for _, name := range slices.Sorted(maps.Keys(m)) {
		b = append(appendText(b.item(), name), ':')
		b = appendText(b, m[name])
	}

	return append(b, '}')
}

// appendText escapes quotes and backslashes, and leaves what is not plain ASCII to encoding/json.
func appendText(b out, s string) out {
	start, begun := len(b), 0
	b = append(b, '"')

	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(append(b, s[begun:i]...), '\\')
			begun = i
		case c < ' ' || c >= 0x7f:
			var text bytes.Buffer

			enc := json.NewEncoder(&text)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(s) // strings always marshal

			return append(b[:start], bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
		}
	}

	return append(append(b, s[begun:]...), '"')
}
