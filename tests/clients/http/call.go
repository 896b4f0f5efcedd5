package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// HTTP/2, where the third party speaks it.
func main() {
	url, upload := os.Args[1], os.Args[4]
	fmt.Print(string(must(io.ReadAll(must(http.Get(url + "/")).Body))))
	fmt.Println(must(io.Copy(io.Discard, must(http.Get(url+"/files/large")).Body)))
	file := must(os.Open(upload))
	request := must(http.NewRequest("PUT", url+"/files/uploaded", file))
	request.ContentLength = must(file.Stat()).Size()
	fmt.Println(must(http.DefaultClient.Do(request)).StatusCode)
	stream := bufio.NewScanner(must(http.Get(url + "/stream")).Body)
	stream.Scan()
	first := stream.Text()
	must(http.Get(url + "/ack"))
	stream.Scan()
	fmt.Println(first, stream.Text())
}
