/* Answers MCP requests in as little time as possible, so that a measurement shows what stands before the server.
 *
 * Usage: echo [TOOLS].  The tools are echo_0, echo_1, ...; each gives the argument `text` back as it was written.
 * Everything that came in one read is answered in one write.  Ends with status 2 at what it cannot read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct buffer {
    char *bytes;
    size_t used, room;
};

static struct buffer input, output, tool_list;

static void fail(const char *problem)
{
    fprintf(stderr, "echo: %s\n", problem);
    exit(2);
}

/* Writing. */

static void make_room(struct buffer *buffer, size_t more)
{
    if (buffer->used + more <= buffer->room)
        return;
    buffer->room = 2 * (buffer->used + more);
    buffer->bytes = realloc(buffer->bytes, buffer->room);
    if (!buffer->bytes)
        fail("out of memory");
}

static void add(struct buffer *buffer, const char *bytes, size_t length)
{
    make_room(buffer, length);
    memcpy(buffer->bytes + buffer->used, bytes, length);
    buffer->used += length;
}

static void add_text(struct buffer *buffer, const char *text)
{
    add(buffer, text, strlen(text));
}

static void send_output(void)
{
    ssize_t put;

    for (size_t done = 0; done < output.used; done += put)
        if ((put = write(STDOUT_FILENO, output.bytes + done, output.used - done)) < 0)
            exit(0); /* nobody reads any more */
    output.used = 0;
}

/* Reading: a line is one JSON value on text that ends with a zero byte. */

static const char *after_string(const char *open)
{
    const char *quote = open;
    size_t backslashes;

    do {
        quote = strchr(quote + 1, '"');
        if (!quote)
            fail("a string without an end");
        for (backslashes = 0; quote[-1 - (long)backslashes] == '\\'; backslashes++)
            continue;
    } while (backslashes % 2);
    return quote + 1;
}

static const char *after_value(const char *at)
{
    int depth = 0;

    do {
        switch (*at) {
        case '\0':
            fail("a value without an end");
            break;
        case '"':
            at = after_string(at);
            break;
        case '{':
        case '[':
            depth++;
            at++;
            break;
        case '}':
        case ']':
            depth--;
            at++;
            break;
        default:
            at += 1 + strcspn(at + 1, ",:\"{}[] \t\r");
        }
    } while (depth > 0);
    return at;
}

/* The value of a member, or NULL.  Its end is not looked for: the longest values come last and are passed once. */
static const char *member(const char *object, const char *name)
{
    size_t length = strlen(name);
    const char *at, *key;
    int found;

    if (!object || *object != '{')
        return NULL;
    for (at = object + 1;; at = after_value(at)) {
        at += strspn(at, ", \t\r");
        if (*at != '"')
            return NULL;
        key = at + 1;
        at = after_string(at);
        found = (size_t)(at - 1 - key) == length && !memcmp(key, name, length);
        at += strspn(at, ": \t\r");
        if (found)
            return at;
    }
}

static int reads(const char *value, const char *quoted)
{
    return !strncmp(value, quoted, strlen(quoted));
}

/* Answering. */

static void add_value(const char *value, const char *otherwise)
{
    if (value)
        add(&output, value, after_value(value) - value);
    else
        add_text(&output, otherwise);
}

static void answer(const char *line)
{
    const char *id = member(line, "id"), *method = member(line, "method"), *params = member(line, "params");

    if (!id || !method)
        return; /* a notification */
    add_text(&output, "{\"jsonrpc\":\"2.0\",\"id\":");
    add_value(id, "null");
    if (reads(method, "\"tools/call\"")) {
        add_text(&output, ",\"result\":{\"content\":[{\"type\":\"text\",\"text\":");
        add_value(member(member(params, "arguments"), "text"), "\"\"");
        add_text(&output, "}],\"isError\":false}}\n");
    } else if (reads(method, "\"tools/list\"")) {
        add_text(&output, ",\"result\":{\"tools\":[");
        add(&output, tool_list.bytes, tool_list.used);
        add_text(&output, "]}}\n");
    } else if (reads(method, "\"initialize\"")) {
        add_text(&output, ",\"result\":{\"protocolVersion\":");
        add_value(member(params, "protocolVersion"), "\"2025-06-18\"");
        add_text(&output, ",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"echo\",\"version\":\"1\"}}}\n");
    } else if (reads(method, "\"ping\"")) {
        add_text(&output, ",\"result\":{}}\n");
    } else {
        add_text(&output, ",\"error\":{\"code\":-32601,\"message\":\"method not found\"}}\n");
    }
}

static void name_tools(int count)
{
    char tool[512];

    make_room(&tool_list, 1);
    for (int number = 0; number < count; number++) {
        snprintf(tool, sizeof tool,
                 "%s{\"name\":\"echo_%d\",\"title\":\"Echo %d\","
                 "\"description\":\"Gives the text back. One of many tools that differ in nothing but the name.\","
                 "\"inputSchema\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\","
                 "\"description\":\"The text to give back.\"}},\"required\":[\"text\"]},"
                 "\"annotations\":{\"readOnlyHint\":true}}",
                 number ? "," : "", number, number);
        add_text(&tool_list, tool);
    }
}

int main(int count, char **words)
{
    name_tools(count > 1 ? atoi(words[1]) : 1);
    make_room(&output, 1 << 20);
    for (size_t searched = 0;;) {
        make_room(&input, 1 << 16);
        ssize_t got = read(STDIN_FILENO, input.bytes + input.used, input.room - input.used);
        if (got <= 0)
            return 0;
        input.used += got;

        char *line = input.bytes, *end = input.bytes + input.used, *newline;
        char *from = input.bytes + searched;
        while ((newline = memchr(from, '\n', end - from))) {
            *newline = '\0';
            answer(line);
            line = from = newline + 1;
        }
        input.used = searched = end - line;
        memmove(input.bytes, line, input.used);
        send_output();
    }
}
