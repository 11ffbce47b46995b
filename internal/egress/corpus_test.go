package egress

import "strings"

// group is URLs that are refused for the same reason.
type group struct {
	reason string
	urls   []string
}

// hostile is the corpus: what somebody may name to make this service call where it should not.
func hostile() []group {
	return []group{
		{"it is not a URL with a scheme and a host", []string{
			"", " ", "/", "//", "//example.com/x", "example.com", "example.com/hook", "https:", "https:/", "https://", "https:///", "https:///example.com/x",
			"https:example.com", "https:/example.com/x", "https://?x", "https://#x", "https://:443/", "https://:443@example.com", "://example.com", "https//example.com", "?https://example.com",
		}},
		{"another scheme reaches files, other protocols or nothing", []string{
			"http://example.com/", "HTTP://example.com/", "ftp://example.com/", "ftps://example.com/x", "file:///etc/passwd", "file://localhost/etc/passwd", "gopher://example.com:70/_x",
			"dict://example.com:11211/stat", "ldap://example.com/", "sftp://example.com/", "tftp://example.com/", "ws://example.com/", "wss://example.com/",
			"data:text/plain,x", "javascript:alert(1)", "mailto:ops@example.com", "jar:https://example.com!/x", "s3://bucket/key", "unix:///var/run/docker.sock",
			"https+unix://%2Fvar%2Frun%2Fdocker.sock/x", "blob:https://example.com/x", "view-source:https://example.com", "netdoc:///etc/passwd", "arn:aws:sns:us-east-1:1:x",
			"httpss://example.com/", "h\u0442tps://example.com/",
		}},
		{"what stands before an @ is shown for the host, and is a secret", []string{
			"https://user@example.com/", "https://user:secret@example.com/", "https://:secret@example.com/", "https://@example.com/", "https://example.com@127.0.0.1/",
			"https://example.com:443@169.254.169.254/", "https://127.0.0.1@example.com/", "https://example.com%40127.0.0.1/", "https://a@b@example.com/", "https://example.com:x@y/",
		}},
		{"another port is another service", []string{
			"https://example.com:80/", "https://example.com:8443/", "https://example.com:22/", "https://example.com:25/", "https://example.com:6379/", "https://example.com:9200/",
			"https://example.com:0/", "https://example.com:65536/", "https://example.com:-1/", "https://example.com:0443/", "https://example.com:00443/", "https://example.com:443x/", "https://example.com:/",
			"https://example.com:443:443/", "https://example.com:+443/", "https://example.com:%34%34%33/", "https://hooks.corp.lan/", "https://hooks.corp.lan:8444/", "http://127.0.0.1:9998/",
		}},
		{"IPv4, as everybody writes it", []string{
			"https://127.0.0.1/", "https://127.0.0.1:443/", "https://169.254.169.254/latest/meta-data/", "https://169.254.170.2/v2/credentials", "https://10.0.0.1/", "https://192.168.0.1/",
			"https://172.16.0.1/", "https://100.64.0.1/", "https://0.0.0.0/", "https://255.255.255.255/", "https://224.0.0.1/", "https://8.8.8.8/", "https://1.1.1.1:443/x",
		}},
		{"IPv4 in the notations of inet_aton and of browsers", []string{
			"https://2130706433/", "https://2852039166/latest/meta-data/", "https://0x7f000001/", "https://0x7F.1/", "https://0x7f.0x0.0x0.0x1/", "https://017700000001/", "https://0177.0.0.1/",
			"https://0177.0.0.0x1/", "https://127.1/", "https://127.0.1/", "https://0/", "https://0x0/", "https://00000000/", "https://10.1/", "https://0xa9fea9fe/", "https://0251.0376.0251.0376/",
			"https://169.16689662/", "https://127.0.0.1./", "https://127.0.0.1.:443/", "https://1.2.3.4.5/", "https://256.256.256.256/", "https://127.0.0.0x1/", "https://4294967297/", "https://0xa9.0xfe.43518/",
		}},
		{"IPv6, and IPv4 within it", []string{
			"https://[::1]/", "https://[::]/", "https://[::1]:443/", "https://[0:0:0:0:0:0:0:1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/",
			"https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[fd00:ec2::254]/latest/meta-data/", "https://[fc00::1]/", "https://[64:ff9b::7f00:1]/",
			"https://[64:ff9b::169.254.169.254]/", "https://[2002:7f00:1::]/", "https://[2001:0:7f00:1::]/", "https://[2001:db8::1]/", "https://[ff02::1]/", "https://[2606:4700::1111]/", "https://[::ffff:0:127.0.0.1]/",
			"https://[::1", "https://::1/", "https://[]/", "https://[127.0.0.1]/", "https://[v1.x]/", "https://[example.com]/", "https://[::1]example.com/", "https://[::1].example.com/",
		}},
		{"names of this computer, of private networks and of metadata services", []string{
			"https://localhost/", "https://LOCALHOST/", "https://localhost.localdomain/", "https://a.localhost/", "https://ip6-localhost/", "https://host.docker.internal/", "https://metadata/",
			"https://metadata.google.internal/computeMetadata/v1/", "https://instance-data/latest/", "https://instance-data.ec2.internal/latest/", "https://ip-10-0-0-1.ec2.internal/", "https://kubernetes.default.svc.cluster.local/",
			"https://router.lan/", "https://nas.local/", "https://git.corp/", "https://wiki.intranet/", "https://printer.home/", "https://gateway.home.arpa/", "https://1.0.0.127.in-addr.arpa/", "https://db.private/",
			"https://x.onion/", "https://x.test/", "https://x.example/", "https://x.invalid/", "https://vault/", "https://intranet/", "https://a/",
		}},
		{"a host that another parser reads otherwise", []string{
			"https://example.com\\@127.0.0.1/", "https:\\\\example.com/", "https://example.com\\.127.0.0.1/", "https://example.com /", " https://example.com/", "https://example.com/ ", "https://exa mple.com/",
			"https://example.com\t/", "https://exam\nple.com/", "https://example.com/\r\nHost: 127.0.0.1", "https://example.com\x00.internal/", "https://example.com\x7f/", "https://example.com%00.internal/",
			"https://example.com%2f127.0.0.1/", "https://%65xample.com/", "https://127%2e0%2e0%2e1/", "https://%31%32%37.0.0.1/", "https://example.com%23.evil.com/", "https://example.com%3f.evil.com/",
			"https://\uff11\uff12\uff17.0.0.1/", "https://\u2460\u2461\u2466.0.0.1/", "https://127\u30020\u30020\u30021/", "https://127\uff0e0\uff0e0\uff0e1/", "https://loc\u00adalhost/", "https://\u24d4xample.com/", "https://ex\u0430mple.com/", "https://b\u00fccher.de/",
			"https://example\u3002com/", "https://example.com\u2044x.evil.com/", "https://\u202eexample.com/", "https://example.com;127.0.0.1/", "https://example.com,127.0.0.1/", "https://example.com&127.0.0.1/", "https://$(id).example.com/",
			"https://`id`.example.com/", "https://{example}.com/", "https://example.com|x/", "https://<x>.com/", "https://ex*mple.com/", "https://*.example.com/", "https://example!.com/", "https://'example'.com/",
		}},
		{"a name that no DNS has, or that looks different to whoever resolves it", []string{
			"https://example.com./", "https://example.com../", "https://.example.com/", "https://example..com/", "https://-example.com/", "https://example-.com/", "https://exa_mple.com/", "https://example.c/", "https://example.123/",
			"https://example.0x7f/", "https://com/", "https://./", "https://../", "https://" + strings.Repeat("a", 64) + ".com/", "https://" + strings.Repeat("a.", 130) + "com/", "https://xn--.xn--/",
		}},
		{"a fragment never arrives, and hides a host from parsers", []string{
			"https://example.com/#x", "https://example.com/#", "https://example.com#@127.0.0.1/", "https://127.0.0.1#.example.com/", "https://example.com/?#",
		}},
		{"what is sent would not be what was written", []string{
			"HTTPS://example.com/", "hTTps://example.com/", `https://example.com/"quoted"`, "https://example.com/<tag>", "https://example.com/{a}", "https://example.com/a^b", "https://example.com/`id`",
			"https://example.com/%zz", "https://example.com/%", "https://example.com/|x",
		}},
		{"too long to be kept", []string{"https://example.com/" + strings.Repeat("a", 8<<10)}},
	}
}

// addresses are what a name may resolve to and nobody may be sent to.
func addresses() []string {
	return []string{
		// IPv4.
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.0.1", "169.254.169.254", "169.254.170.2", "169.254.169.253",
		"169.254.169.123", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		// IPv6.
		"::", "::1", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fd00:ec2::254", "fd00:ec2::23", "fdff::1", "ff02::1", "ff0e::1", "100::1", "2001:db8::1", "2001::1", "2001:0:7f00:1::", "2001:10::1", "2001:20::1",
		"2001:1ff:ffff::1", "3fff::1", "5f00::1", "4000::1", "1::1",
		// IPv4 within IPv6.
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:808:808::1",
		// One link's own.
		"fe80::1%eth0", "2606:4700::1111%eth0",
	}
}
