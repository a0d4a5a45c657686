// @ts-check

/**
 * The wire's objects, as far as the page reads them.
 *
 * @typedef {import("../session.js").User} Person
 * @typedef {{type: string, userIds: string[], role: string | null, title: string | null}} SystemNote
 * @typedef {{
 *   messageId: string, conversationId: string, seq: number, kind: "user" | "system", system: SystemNote | null,
 *   senderId: string, clientMessageId: string, text: string | null, reactions: Record<string, number>,
 *   rev: number, createdAt: string, editedAt: string | null, deletedAt: string | null,
 * }} Message
 * @typedef {{userId: string, lastReadSeq: number}} ReadMark
 * @typedef {{
 *   conversationId: string, type: "direct" | "group", title: string | null, peer: Person | null,
 *   memberCount: number, lastSeq: number, lastMessage: Message | null, lastReadSeq: number,
 *   unreadCount: number, mentionCount: number, muted: boolean, request: boolean,
 *   readMarks: ReadMark[] | null, rev: number, updatedAt: string,
 * }} Summary
 * @typedef {{
 *   clientMessageId: string, conversationId: string, text: string, createdAt: string,
 *   status: "queued" | "failed", error?: string,
 * }} OutboxEntry
 */

export {};
