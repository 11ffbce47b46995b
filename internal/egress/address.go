package egress

import "net/netip"

// block is a range of addresses that are not for the internet.
type block struct{ prefix, what string }

// blocks are the ranges of the IANA IPv4 and IPv6 Special-Purpose Address Registries that a receiver on the internet cannot have, and multicast.
func blocks() []block {
	return []block{
		{"0.0.0.0/8", "this network"},
		{"10.0.0.0/8", "a private network"},
		{"100.64.0.0/10", "a carrier's shared network"},
		{"127.0.0.0/8", "loopback"},
		{"169.254.0.0/16", "link-local, where metadata services are"},
		{"172.16.0.0/12", "a private network"},
		{"192.0.0.0/24", "protocol assignments"},
		{"192.0.2.0/24", "documentation"},
		{"192.88.99.0/24", "6to4 relays"},
		{"192.168.0.0/16", "a private network"},
		{"198.18.0.0/15", "benchmarks"},
		{"198.51.100.0/24", "documentation"},
		{"203.0.113.0/24", "documentation"},
		{"224.0.0.0/4", "multicast"},
		{"240.0.0.0/4", "reserved addresses"},

		// Teredo (2001::/32), which embeds IPv4, is among these.
		{"2001::/23", "protocol assignments"},
		{"2001:db8::/32", "documentation"},
		{"2002::/16", "6to4, which embeds IPv4"},
		{"3fff::/20", "documentation"},
	}
}

// global is all of IPv6 that is given out as global unicast. Outside are loopback, link-local, unique local, multicast, and what embeds IPv4: mapped,
// compatible, translated and NAT64.
const global = "2000::/3"

// notPublic says what an address is, if a receiver on the internet cannot have it.
func notPublic(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "no address"
	case a.Zone() != "":
		return "an address of one link"
	case a.Is6() && !netip.MustParsePrefix(global).Contains(a):
		return "an address outside of the global range"
	}

	for _, b := range blocks() {
		if netip.MustParsePrefix(b.prefix).Contains(a) {
			return b.what
		}
	}

	return ""
}
