/* GET over HTTP by a name, with the resolver of the C library that this is linked with: prints the last line of the response. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char response[4096], request[512];
    int socket_, length = 0, got, error;
    if (count < 2) return 2;
    error = getaddrinfo(arguments[1], "80", &hints, &found);
    if (error) {
        fprintf(stderr, "%s: %s\n", arguments[1], gai_strerror(error));
        return 1;
    }
    socket_ = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(socket_, found->ai_addr, found->ai_addrlen)) {
        perror("connect");
        return 1;
    }
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", arguments[1]);
    if (write(socket_, request, strlen(request)) < 0) return 1;
    while (length < (int)sizeof response - 1 && (got = read(socket_, response + length, sizeof response - 1 - length)) > 0) length += got;
    response[length] = 0;
    char *body = strstr(response, "\r\n\r\n");
    fputs(body ? body + 4 : "no response", stdout);
    return 0;
}
