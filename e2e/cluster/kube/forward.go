package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// forward brings one TCP port of another network namespace to this one: it
// listens here, on loopback, and dials there. That way the tests outside reach
// the API server at 127.0.0.1 without an interface, a route or a firewall rule
// of the host being touched (as a veth pair to the host would need), and the
// same address is right inside the cluster's own namespace, too.
func forward(args []string) error {
	flags := flag.NewFlagSet("forward", flag.ContinueOnError)
	netns := flags.String("netns", "", "path of the network namespace to dial in")
	listen := flags.String("listen", "127.0.0.1:0", "loopback address to listen at, here")
	target := flags.String("target", "", "address to dial, there")
	if err := flags.Parse(args); err != nil {
		return err
	}
	address, err := net.ResolveTCPAddr("tcp", *listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w", *listen, err)
	}
	if !address.IP.IsLoopback() {
		return fmt.Errorf("--listen %s is not a loopback address", *listen)
	}
	listener, err := net.ListenTCP("tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen at %s: %w", *listen, err)
	}
	dial, err := dialerIn(*netns, *target)
	if err != nil {
		return err
	}
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // out of descriptors, or a client gone already: both pass
			fmt.Fprintf(os.Stderr, "forward: accept: %v\n", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		go func() {
			defer client.Close()
			server, err := dial()
			if err != nil {
				fmt.Fprintf(os.Stderr, "forward: dial %s: %v\n", *target, err)
				return
			}
			defer server.Close()
			sent := make(chan struct{})
			go func() {
				pipe(server, client)
				close(sent)
			}()
			pipe(client, server)
			<-sent
		}()
	}
}

// dialerIn returns a function that connects to the target within a namespace.
// A namespace belongs to a thread, so one goroutine keeps one thread for good and
// makes all connections; a made connection can be used from anywhere.
func dialerIn(netns, target string) (func() (net.Conn, error), error) {
	type answer struct {
		conn net.Conn
		err  error
	}
	requests := make(chan chan answer)
	entered := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		entered <- enter(netns)
		for reply := range requests {
			conn, err := net.DialTimeout("tcp", target, 5*time.Second)
			reply <- answer{conn, err}
		}
	}()
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("cannot enter the network namespace %s: %w", netns, err)
	}
	return func() (net.Conn, error) {
		reply := make(chan answer, 1)
		requests <- reply
		a := <-reply
		return a.conn, a.err
	}, nil
}

func enter(netns string) error {
	file, err := os.Open(netns)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
}

// pipe copies one direction and passes its end on, so that half-closed
// connections keep working; a fault ends both directions.
func pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if tcp, ok := to.(*net.TCPConn); ok && err == nil {
		tcp.CloseWrite()
		return
	}
	to.Close()
	from.Close()
}
