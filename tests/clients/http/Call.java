import java.io.*;
import java.net.*;
import java.net.http.*;
import java.net.http.HttpClient.Version;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.*;

// args[4]: the version of HTTP.
class Call {
    public static void main(String[] args) throws Exception {
        Version version = args[4].equals("2") ? Version.HTTP_2 : Version.HTTP_1_1;
        HttpClient client = HttpClient.newBuilder().version(version).build();
        System.out.println(client.send(get(args[0] + "/"), BodyHandlers.ofString()).body().strip());
        long got = 0;
        byte[] piece = new byte[1 << 20];
        try (InputStream large = client.send(get(args[0] + "/files/large"), BodyHandlers.ofInputStream()).body()) {
            for (int read; (read = large.read(piece)) >= 0; ) got += read;
        }
        System.out.println(got);
        HttpRequest put = HttpRequest.newBuilder(URI.create(args[0] + "/files/uploaded"))
            .PUT(BodyPublishers.ofFile(Path.of(args[3]))).build();
        System.out.println(client.send(put, BodyHandlers.discarding()).statusCode());
        InputStream stream = client.send(get(args[0] + "/stream"), BodyHandlers.ofInputStream()).body();
        BufferedReader lines = new BufferedReader(new InputStreamReader(stream));
        String first = lines.readLine();
        client.send(get(args[0] + "/ack"), BodyHandlers.discarding());
        System.out.println(first + " " + lines.readLine());
    }

    static HttpRequest get(String url) {
        return HttpRequest.newBuilder(URI.create(url)).build();
    }
}
