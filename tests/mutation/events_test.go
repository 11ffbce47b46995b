package mutation_test

// eventMutations take away what stands between a tenant's URL and what this service can reach, and what keeps events in order and secrets at home.
func eventMutations() []mutation {
	const (
		out       = "internal/egress/egress.go"
		addresses = "internal/egress/address.go"
		courier   = "internal/courier/courier.go"
		carry     = "functions/events/main.go"
		deliver   = "functions/webhook/main.go"

		egressRoom, courierRoom, events, webhook = "./internal/egress", "./internal/courier", "./functions/events", "./functions/webhook"
	)

	return []mutation{
		{"egress-follows-redirects", "a public receiver could send this service to a private one", out, "{ return http.ErrUseLastResponse }", "{ return nil }", egressRoom},
		{"egress-first-address-only", "a name that mixes public and private addresses is one that rebinds", out, "	for _, a := range addresses {\n		if why", "	for _, a := range addresses[:1] {\n		if why", egressRoom},
		{"egress-dials-names", "a name would be looked up once more, unchecked", out, "netip.AddrPortFrom(a.Unmap(), 443).String())", "address+a.Zone())", egressRoom},
		{"egress-unguarded-dialer", "nothing would look at the address at the last moment", out, ", Control: control}", "}", egressRoom},
		{"egress-any-port", "another port is another service", out, ` && strings.ToLower(u.Host) != name+":443":`, ` && false:`, egressRoom},
		{"egress-http", "what is sent in the clear is read on the way", out, `	case u.Scheme != "https":`, `	case u.Scheme != "https" && u.Scheme != "http":`, egressRoom},
		{"egress-users", "what stands before an @ is taken for the host", out, `	case u.User != nil || strings.Contains(u.Host, "@"):`, `	case false:`, egressRoom},
		{"egress-other-spelling", "two parsers would read two hosts", out, "	case u.String() != raw:", "	case false:", egressRoom},
		{"egress-private-names", "names of private networks resolve within them", out, "	case slices.ContainsFunc(privateSuffixes()", "	case false && slices.ContainsFunc(privateSuffixes()", egressRoom},
		{"egress-quotes-url", "a webhook's path may be a secret", out, "			err = wrapped.Err\n", "			_ = wrapped\n", egressRoom},
		{"egress-link-local", "metadata services are there", addresses, `		{"169.254.0.0/16", "link-local, where metadata services are"},` + "\n", "", egressRoom},
		{"egress-embedded-v4", "NAT64 and mapped addresses lead to private IPv4", addresses, "	case a.Is6() && !netip", "	case false && a.Is6() && !netip", egressRoom},
		{"signature-without-time", "what was overheard could be sent again later", courier, `"%s.%d.%s", id, at.Unix(), body)`, `"%s.%d.%s", id, 0, body)`, courierRoom},
		{"redirects-count-as-taken", "an event would be lost at a receiver that moved", courier, "status > 299)", "status > 399)", courierRoom},
		{"tries-without-end", "a day-old event would be tried again and again before its dead letter", courier, "	if n > 1 && c.Now().Sub(since) > patience {", "	if false {", courierRoom},
		{"one-group-for-all", "a webhook that is dead would hold up all others", courier, "Group: digest(w.ID, e.Name)", "Group: digest(e.Name)", courierRoom},
		{"deduplicated-across-webhooks", "one webhook's message would swallow the other's", courier, "Once: digest(w.ID, e.ID)", "Once: digest(e.ID)", courierRoom},
		{"events-overtake", "an event that failed would come behind later ones", carry, "			return events.DynamoDBEventResponse{BatchItemFailures: []events.DynamoDBBatchItemFailure{{ItemIdentifier: r.Change.SequenceNumber}}}, nil\n", "			continue\n", events},
		{"messages-not-hidden", "a failed delivery would come back by the queue's time and not later each time", deliver, "p.queue.Hide(ctx, m.ReceiptHandle, again)", "p.queue.Hide(ctx, m.ReceiptHandle, 0)", webhook},
	}
}
