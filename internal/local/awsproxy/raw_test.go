package awsproxy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
)

// rawHeaderNames reads an answer's head as it stands on the wire, since Go's client would change the case of names.
func rawHeaderNames(t *testing.T, address string) string {
	t.Helper()

	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}

	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", u.RequestURI(), u.Host); err != nil {
		t.Fatal(err)
	}

	var head strings.Builder

	for scanner := bufio.NewScanner(conn); scanner.Scan() && scanner.Text() != ""; {
		head.WriteString(scanner.Text() + "\n")
	}

	return head.String()
}
