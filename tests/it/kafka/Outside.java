// An outside witness: Kafka's own Java clients, told what to do line by line. Started by outside.rs from this source.
//
//   put TOPIC KEY FILE            produces one record, its value the bytes of FILE        -> ok PARTITION OFFSET
//   grant USER OPERATION TYPE PATTERN NAME    adds an ACL (READ TOPIC LITERAL payments)   -> ok
//   forget USER                   removes all ACLs of USER                                -> ok
//   group NAME                    what the group committed, PARTITION=OFFSET,...          -> ok TOPIC:0=12 TOPIC:1=9
//
// Anything that goes wrong answers "error ..." in one line.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourcePatternFilter;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Outside {
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", arguments[0], "max.request.size", 100_000_000, "buffer.memory", 200_000_000L);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[0]));
             KafkaProducer<byte[], byte[]> producer =
                 new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (String line; (line = lines.readLine()) != null; ) {
                String answer;
                try {
                    answer = "ok " + run(admin, producer, line.split(" "));
                } catch (Exception e) {
                    answer = "error " + e.toString().replace('\n', ' ');
                }
                System.out.println(answer);
                System.out.flush();
            }
        }
    }

    static String run(Admin admin, KafkaProducer<byte[], byte[]> producer, String[] words) throws Exception {
        switch (words[0]) {
            case "put": {
                byte[] value = Files.readAllBytes(Path.of(words[3]));
                var sent = producer.send(new ProducerRecord<>(words[1], words[2].getBytes("UTF-8"), value)).get();
                return sent.partition() + " " + sent.offset();
            }
            case "grant": {
                ResourcePattern what = new ResourcePattern(
                    ResourceType.valueOf(words[3]), words[5], PatternType.valueOf(words[4]));
                AccessControlEntry who = new AccessControlEntry(
                    "User:" + words[1], "*", AclOperation.valueOf(words[2]), AclPermissionType.ALLOW);
                AclBinding right = new AclBinding(what, who);
                admin.createAcls(List.of(right)).all().get();
                // The controller knows; the broker learns it a little later.
                while (admin.describeAcls(right.toFilter()).values().get().isEmpty()) {
                    Thread.sleep(5);
                }
                return "";
            }
            case "forget": {
                AccessControlEntryFilter who = new AccessControlEntryFilter(
                    "User:" + words[1], null, AclOperation.ANY, AclPermissionType.ANY);
                AclBindingFilter all = new AclBindingFilter(ResourcePatternFilter.ANY, who);
                admin.deleteAcls(List.of(all)).all().get();
                while (!admin.describeAcls(all).values().get().isEmpty()) {
                    Thread.sleep(5);
                }
                return "";
            }
            case "group":
                return admin.listConsumerGroupOffsets(words[1]).partitionsToOffsetAndMetadata().get().entrySet().stream()
                    .map(e -> e.getKey().topic() + ":" + e.getKey().partition() + "=" + e.getValue().offset())
                    .sorted().collect(Collectors.joining(" "));
            default:
                throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }
}
